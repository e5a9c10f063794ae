"""The offline backend in torch: every document scores as if torch's own modules had read it alone."""

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pytest
import torch
from gatehouse_server.engine.offline_backend import BatchScores, DocumentInputs, TorchOfflineBackend
from gatehouse_server.network.layer_spec import Merge
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadKind,
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.network.recurrents import recurrents

from ..network.oracle import random_parameters, reference

# torch says so itself when it computes projections; the oracle only has to be right, not fast.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

Result = TypeVar("Result")
VOCABULARY = 23


def driven(
    work: Generator[None, None, Result], between: Callable[[], None] = lambda: None
) -> tuple[Result, int]:
    """Drives to the end, calling `between` at every yield; the result and how often it yielded."""
    pieces = 0
    while True:
        try:
            next(work)
        except StopIteration as finished:
            result: Result = finished.value
            return result, pieces
        pieces += 1
        between()


def network_of(
    recurrent: RecurrentSpec,
    *,
    tokens: bool = True,
    pooling: tuple[str, ...] = ("mean",),
    kind: HeadKind = "softmax",
    folded: bool = True,
) -> tuple[Network, dict[str, Tensor]]:
    """A network with 5 outputs, and its parameters."""
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=VOCABULARY, embedding_size=recurrent.input_size)
        if tokens
        else FeatureInputSpec(size=recurrent.input_size),
        recurrent=recurrent,
        pooling=pooling,
        head=HeadSpec(kind=kind, size=5),
    )
    parameters = random_parameters(spec)
    network = Network.build(spec, parameters, fold_limit_bytes=2**20 if folded else 0)
    return network, parameters


def documents_of(network: Network, lengths: Sequence[int], seed: int = 0) -> list[DocumentInputs]:
    """Random documents of these lengths."""
    generator = np.random.default_rng(seed)
    if isinstance(network.spec.input, TokenInputSpec):
        return [generator.integers(0, VOCABULARY, length) for length in lengths]
    width = network.spec.input.size
    return [generator.standard_normal((length, width), dtype=np.float32) for length in lengths]


def expected_scores(
    network: Network, parameters: dict[str, Tensor], documents: Sequence[DocumentInputs]
) -> npt.NDArray[np.float32]:
    """Each document alone through torch's module, pooled, through a linear layer."""
    sequences = [torch.from_numpy(document) for document in documents]
    if isinstance(network.spec.input, TokenInputSpec):
        sequences = [parameters["embedding.weight"][ids] for ids in sequences]
    outputs, ends = reference(network.spec.recurrent, parameters, sequences)
    rows = []
    for output, end in zip(outputs, ends, strict=True):
        pooled = {"mean": output.mean(0), "max": output.amax(0), "last": end}
        summary = torch.cat([pooled[kind] for kind in network.spec.pooling or ("last",)])
        logits = parameters["head.weight"] @ summary + parameters["head.bias"]
        assert network.head is not None
        squashed = {"softmax": torch.softmax(logits, 0), "sigmoid": torch.sigmoid(logits), "linear": logits}
        rows.append(squashed[network.head.kind])
    scores: npt.NDArray[np.float32] = torch.stack(rows).numpy()
    return scores


def scores_of(network: Network, documents: Sequence[DocumentInputs]) -> npt.NDArray[np.float32]:
    """The backend's answer."""
    return values_of(driven(TorchOfflineBackend(network).score(documents))[0])


def values_of(result: BatchScores) -> npt.NDArray[np.float32]:
    """The scores in it."""
    assert result.scores is not None
    return result.scores


@settings(max_examples=60, deadline=None)
@given(
    recurrent=recurrents(),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=40).map(lambda lengths: sorted(lengths)[::-1]),
    pooling=st.sampled_from([(), ("last",), ("mean",), ("max",), ("max", "last", "mean")]),
    kind=st.sampled_from(["softmax", "sigmoid", "linear"]),
    tokens=st.booleans(),
    folded=st.booleans(),
)
def test_scores_equal_torch_on_each_document_alone(
    recurrent: RecurrentSpec,
    lengths: list[int],
    pooling: tuple[str, ...],
    kind: HeadKind,
    tokens: bool,
    folded: bool,
) -> None:
    """Every cell, merge, pooling and head, on ragged batches down to one step, to 1e-5."""
    network, parameters = network_of(recurrent, tokens=tokens, pooling=pooling, kind=kind, folded=folded)
    documents = documents_of(network, lengths)
    result, _ = driven(TorchOfflineBackend(network).score(documents))
    expected = expected_scores(network, parameters, documents)
    assert values_of(result).dtype == np.float32
    # Sums over pooled rectifiers grow with the document, so the tolerance is relative where they are large.
    np.testing.assert_allclose(values_of(result), expected, rtol=1e-5, atol=1e-5)
    assert result.computed_steps == sum(lengths)


@pytest.mark.parametrize("tokens", [True, False])
def test_scores_by_fused_kernels_equal_torch(tokens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU reads with: the same scores, also when batches take turns and when the documents are many."""
    monkeypatch.setattr("gatehouse_server.network.network.are_layers_fused", lambda *_: True)
    recurrent = RecurrentSpec.uniform(
        cell="lstm", input_size=4, hidden_size=8, projection_size=3, layers=2, bidirectional=True
    )
    network, parameters = network_of(recurrent, tokens=tokens, pooling=("mean", "max"))
    many = documents_of(network, [40] * 150 + [13] * 100 + [1] * 50)
    few = documents_of(network, [200, 3], seed=1)
    other = TorchOfflineBackend(network).score(few)
    result, pieces = driven(TorchOfflineBackend(network).score(many), lambda: next(other, None))
    assert pieces > len(many)
    np.testing.assert_allclose(values_of(result), expected_scores(network, parameters, many), atol=1e-5)
    np.testing.assert_allclose(scores_of(network, few), expected_scores(network, parameters, few), atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_very_long_document_keeps_its_accuracy_and_yields_often(cell: str) -> None:
    """20,000 steps in both directions, and the device is free again after every few of them."""
    recurrent = RecurrentSpec.uniform(cell=cell, input_size=4, hidden_size=8, bidirectional=True)
    network, parameters = network_of(recurrent, pooling=("mean", "max", "last"))
    documents = documents_of(network, [20_000])
    result, pieces = driven(TorchOfflineBackend(network).score(documents))
    np.testing.assert_allclose(values_of(result), expected_scores(network, parameters, documents), atol=1e-5)
    assert pieces >= 2 * 20_000 / 8


@pytest.mark.parametrize("merge", ["concat", "average"])
@pytest.mark.parametrize("folded", [True, False])
def test_scores_do_not_depend_on_the_neighbours(merge: Merge, folded: bool) -> None:
    """A document alone and in any company gets the same scores to the bit."""
    recurrent = RecurrentSpec.uniform(
        cell="lstm", input_size=8, hidden_size=32, layers=2, bidirectional=True, merge=merge
    )
    network, _ = network_of(recurrent, pooling=("mean", "max"), folded=folded)
    assert network.reproducible
    documents = documents_of(network, [150, 90, 90, 77, 40, 3, 1])
    together = scores_of(network, documents)
    for row, document in enumerate(documents):
        assert np.array_equal(scores_of(network, [document])[0], together[row])
    some = scores_of(network, documents[1:5])
    assert np.array_equal(some, together[1:5])


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("projection_size", [0, 5])
def test_the_network_may_be_used_between_two_pieces(folded: bool, projection_size: int) -> None:
    """Online steps on the same network, run at every yield, change neither side's results by a bit."""
    recurrent = RecurrentSpec.uniform(
        cell="lstm", input_size=8, hidden_size=16, layers=2, projection_size=projection_size
    )
    network, _ = network_of(recurrent, folded=folded)
    documents = documents_of(network, [60, 55, 20, 20, 9])
    undisturbed = scores_of(network, documents)
    chunk = torch.arange(21) % VOCABULARY
    quiet = network.scan(chunk, (3,) * 7, network.layout.zeros(3)).clone()

    def disturb() -> None:
        assert torch.equal(network.scan(chunk, (3,) * 7, network.layout.zeros(3)), quiet)

    result, pieces = driven(TorchOfflineBackend(network).score(documents), disturb)
    assert np.array_equal(values_of(result), undisturbed)
    assert pieces > 20


def test_a_dropped_batch_leaves_nothing_behind() -> None:
    """After a batch was closed halfway, or failed, the next one is right."""
    recurrent = RecurrentSpec.uniform(cell="gru", input_size=4, hidden_size=8, layers=2, bidirectional=True)
    network, parameters = network_of(recurrent)
    backend = TorchOfflineBackend(network)
    documents = documents_of(network, [30, 20, 10])
    halfway = backend.score(documents)
    for _ in range(9):
        next(halfway)
    halfway.close()
    with pytest.raises((IndexError, RuntimeError)):
        driven(backend.score([np.full(25, VOCABULARY, dtype=np.int64)]))
    result, _ = driven(backend.score(documents))
    np.testing.assert_allclose(values_of(result), expected_scores(network, parameters, documents), atol=1e-5)


@pytest.mark.parametrize("lengths", [[], [3, 0], [2, 5]])
def test_batches_without_steps_or_out_of_order_are_refused(lengths: list[int]) -> None:
    """No document, a document without steps, or the longer one later raise ValueError."""
    network, _ = network_of(RecurrentSpec.uniform(cell="gru", input_size=4, hidden_size=8))
    with pytest.raises(ValueError, match="lengths"):
        scores_of(network, documents_of(network, lengths))


def test_a_network_without_head_gives_no_scores() -> None:
    """It is refused when it is asked for some."""
    spec = NetworkSpec(
        input=FeatureInputSpec(size=2),
        recurrent=RecurrentSpec.uniform(cell="gru", input_size=2, hidden_size=3),
    )
    network = Network.build(spec, random_parameters(spec))
    with pytest.raises(ValueError, match="head"):
        scores_of(network, documents_of(network, [3]))
