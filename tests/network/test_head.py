"""The output layer finds exactly the best entries, in one order, and normalises."""

import pytest
import torch
from gatehouse_server.network.head import Head, normalizer_of_softmax
from gatehouse_server.network.selection import Selection
from gatehouse_server.network.spec import HeadSpec
from gatehouse_server.network.workspace import Workspace
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor


def _head(size: int, inputs: int = 8) -> Head:
    generator = torch.Generator().manual_seed(size)
    weight = torch.randn(size, inputs, generator=generator)
    bias = torch.randn(size, generator=generator)
    return Head(HeadSpec(kind="softmax", size=size), weight, bias, Workspace(torch.device("cpu")))


def _sorted_best(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The definition: a stable sort, larger first."""
    ids = torch.sort(values, dim=1, descending=True, stable=True).indices[:, :k]
    return values.gather(1, ids), ids


@settings(deadline=None, max_examples=80)
@given(
    rows=st.sampled_from([1, 3, 16, 17, 40]),
    blocks=st.integers(1, 60),
    levels=st.integers(1, 400),
    seed=st.integers(0, 10_000),
    data=st.data(),
)
def test_best_is_a_stable_sort(rows: int, blocks: int, levels: int, seed: int, data: st.DataObject) -> None:
    """For any k and with many equal entries the k best are those of a stable sort: ties to the lower id."""
    block = 16
    width = blocks * block
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-levels, levels, (rows, width), generator=generator) / 7
    values[:, -1] = -torch.inf
    values[:, 0] = -0.0
    k = data.draw(st.integers(1, width))
    selection = Selection(width, block, torch.device("cpu"))
    best, ids = selection.best(values, k)
    expected, expected_ids = _sorted_best(values, k)
    assert torch.equal(ids, expected_ids)
    assert torch.equal(best, expected)


@pytest.mark.parametrize("size", [1, 2, 4, 33, 1000, 10_000])
@pytest.mark.parametrize("rows", [1, 8, 64])
def test_best_of_real_logits(size: int, rows: int) -> None:
    """The five best of computed logits (or all) are those of a stable sort; padding never is."""
    head = _head(size)
    logits = head.logits(torch.randn(rows, 8, generator=torch.Generator().manual_seed(rows)))
    k = min(5, size)
    best, ids = head.best(logits, k)
    expected, expected_ids = _sorted_best(logits[:, :size], k)
    assert torch.equal(ids, expected_ids)
    assert torch.equal(best, expected)


def test_all_entries_can_be_asked_for() -> None:
    """k = V gives the whole vocabulary in order, without the padding."""
    head = _head(999)
    logits = head.logits(torch.randn(20, 8))
    _, ids = head.best(logits, 999)
    assert torch.equal(ids.sort(dim=1).values, torch.arange(999).expand(20, -1))


@pytest.mark.parametrize("k", [0, -1, 1000])
def test_an_impossible_k_is_refused(k: int) -> None:
    """k below one or above the vocabulary raises an error that names the range."""
    head = _head(999)
    with pytest.raises(ValueError, match=r"k: expected 1\.\.999, got"):
        head.best(head.logits(torch.randn(2, 8)), k)


@settings(deadline=None, max_examples=30)
@given(
    size=st.integers(1, 3000), rows=st.integers(1, 70), scale=st.floats(0.1, 100), seed=st.integers(0, 100)
)
def test_log_normalizer_is_logsumexp(size: int, rows: int, scale: float, seed: int) -> None:
    """The normalizer is the logarithm of the sum of exponentials over the true vocabulary, as in float64."""
    head = _head(size)
    hidden = torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)) * scale
    logits = head.logits(hidden)
    exact = torch.logsumexp(logits[:, :size].double(), dim=1)
    scale_of_result = exact.abs().clamp(min=1.0)
    assert float(((head.log_normalizer(logits).double() - exact).abs() / scale_of_result).max()) < 2e-6


def test_a_head_without_bias_has_padding_too() -> None:
    """Padded columns are minus infinity even if the head has no bias."""
    head = Head(
        HeadSpec(kind="linear", size=3, bias=False), torch.randn(3, 5), None, Workspace(torch.device("cpu"))
    )
    logits = head.logits(torch.randn(2, 5))
    assert logits.shape == (2, head.width)
    assert bool((logits[:, 3:] == -torch.inf).all())
    assert bool(logits[:, :3].isfinite().all())


@pytest.mark.parametrize("size", [1, 4, 33, 10_000])
def test_both_ways_to_normalise_agree(size: int) -> None:
    """What a GPU computes for a row is the log of the sum of exponentials, padding left out, as on a CPU."""
    head = _head(size)
    logits = head.logits(4 * torch.randn(9, 8, generator=torch.Generator().manual_seed(size)))
    expected = logits[:, :size].double().logsumexp(dim=1)
    for actual in (head.log_normalizer(logits), normalizer_of_softmax(logits)):
        assert torch.allclose(actual.double(), expected, atol=1e-5)
