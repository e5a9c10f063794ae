"""A row's bits depend on nothing but the row: not on batch size, place, neighbours or chunks."""

from collections.abc import Iterator

import pytest
import torch
from gatehouse_server.network import kernel as kernels
from gatehouse_server.network.arithmetic import Arithmetic, Precision
from gatehouse_server.network.dense import Dense
from gatehouse_server.network.kernel import (
    Kernel,
    PlainKernel,
    TiledKernel,
    choose_kernel,
    is_row_independent,
)
from gatehouse_server.network.layer_spec import Merge
from gatehouse_server.network.network import Network
from gatehouse_server.network.packing import pack
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.network.recurrents import mixed_stacks

from .oracle import ragged, random_parameters

_BATCH_SIZES = (1, 2, 3, 7, 8, 9, 64, 129)
_STEPS = 5


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _token_network(cell: str, hidden: int, projection: int, layers: int, folded: bool) -> Network:
    recurrent = RecurrentSpec.uniform(
        cell=cell, input_size=24, hidden_size=hidden, projection_size=projection, layers=layers
    )
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=203, embedding_size=24),
        recurrent=recurrent,
        head=HeadSpec(kind="softmax", size=203),
    )
    return Network.build(spec, random_parameters(spec), fold_limit_bytes=2**30 if folded else 0)


def _steps(network: Network, ids: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """ids (B, T), one step at a time -> outputs (B, T, R) and the state."""
    state = network.layout.zeros(ids.shape[0])
    outputs = [network.scan(ids[:, t], (ids.shape[0],), state).clone() for t in range(ids.shape[1])]
    return torch.stack(outputs, dim=1), state


@pytest.mark.parametrize(
    ("cell", "hidden", "projection", "layers"),
    [
        ("lstm", 13, 0, 2),
        ("lstm", 96, 0, 1),
        ("lstm", 670, 96, 1),
        ("lstm", 1024, 0, 1),
        ("lstm", 33, 1, 2),
        ("gru", 13, 0, 2),
        ("gru", 670, 0, 1),
        ("rnn_tanh", 1, 0, 1),
        ("rnn_relu", 45, 0, 3),
    ],
)
@pytest.mark.parametrize("folded", [True, False])
def test_batch_size_place_and_chunks_do_not_matter(
    cell: str, hidden: int, projection: int, layers: int, folded: bool
) -> None:
    """Outputs, states, logits and the best are equal to the bit for any batch size, place and chunking."""
    network = _token_network(cell, hidden, projection, layers, folded)
    assert network.reproducible
    most = max(_BATCH_SIZES)
    ids = torch.randint(203, (most, _STEPS), generator=torch.Generator().manual_seed(1))
    outputs, state = _steps(network, ids)
    for size in _BATCH_SIZES:
        for start in {0, most - size}:  # first rows, last rows
            part = ids[start : start + size]
            some, some_state = _steps(network, part)
            assert torch.equal(some, outputs[start : start + size])
            _assert_same(some_state, tuple(tensor[start : start + size] for tensor in state))
        for split in (0, 1, 3):  # all steps at once, or in two scans
            chunked = network.layout.zeros(size)
            pieces = [ids[:size, :split], ids[:size, split:]] if split else [ids[:size]]
            results = [_scan(network, piece, chunked) for piece in pieces]
            assert torch.equal(torch.cat(results, dim=1), outputs[:size])
            _assert_same(chunked, tuple(tensor[:size] for tensor in state))
    _assert_head_is_row_independent(network, outputs[:, -1])


@settings(deadline=None, max_examples=30)
@given(recurrent=mixed_stacks(causal=True), recorded=st.booleans())
def test_any_stack_of_cells_is_reproducible(recurrent: RecurrentSpec, recorded: bool) -> None:
    """Cells of every kind, with every option: the same bits alone and among others, step by step and in chunks."""
    spec = NetworkSpec(input=FeatureInputSpec(size=recurrent.input_size), recurrent=recurrent)
    network = Network.build(spec, random_parameters(spec))
    if recorded:
        network.record()
    x = torch.randn(33, _STEPS, recurrent.input_size, generator=torch.Generator().manual_seed(1))
    state = network.initial_state(33)
    outputs = torch.stack(
        [network.scan(x[:, t].contiguous(), (33,), state).clone() for t in range(_STEPS)], dim=1
    )
    for row in (0, 32):
        alone = network.initial_state(1)
        together = network.scan(x[row], (1,) * _STEPS, alone)
        assert torch.equal(together, outputs[row])
        _assert_same(alone, tuple(part[row : row + 1] for part in state))


@settings(deadline=None, max_examples=30)
@given(recurrent=mixed_stacks(), recorded=st.booleans())
def test_documents_through_any_stack_are_reproducible(recurrent: RecurrentSpec, recorded: bool) -> None:
    """Directions and merges of every kind: a document has the same bits alone and among ragged others."""
    pooling = ("last", "mean", "max")
    spec = NetworkSpec(
        input=FeatureInputSpec(size=recurrent.input_size), recurrent=recurrent, pooling=pooling
    )
    network = Network.build(spec, random_parameters(spec))
    if recorded:
        network.record()
    sequences = ragged([40, 23, 22, 9, 9, 1], recurrent.input_size)
    together = pack(sequences)
    summaries = network.summarize(together.data, together.batch_sizes)
    for row, sequence in enumerate(sequences):
        alone = network.summarize(sequence, (1,) * len(sequence))
        assert torch.equal(alone[0], summaries[row])


def _scan(network: Network, ids: Tensor, state: tuple[Tensor, ...]) -> Tensor:
    rows, steps = ids.shape
    packed = network.scan(ids.t().reshape(-1), (rows,) * steps, state)
    return packed.view(steps, rows, -1).transpose(0, 1).clone()


def _assert_same(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    assert all(torch.equal(left, right) for left, right in zip(actual, expected, strict=True))


def _assert_head_is_row_independent(network: Network, hidden: Tensor) -> None:
    head = network.head
    assert head is not None
    logits = head.logits(hidden)
    normalizer = head.log_normalizer(logits)
    values, ids = head.best(logits, 5)
    for size in _BATCH_SIZES:
        some = head.logits(hidden[-size:])
        assert torch.equal(some, logits[-size:])
        assert torch.equal(head.log_normalizer(some), normalizer[-size:])
        some_values, some_ids = head.best(some, 5)
        assert torch.equal(some_values, values[-size:])
        assert torch.equal(some_ids, ids[-size:])


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
@pytest.mark.parametrize("merge", ["concat", "average"])
def test_a_document_does_not_depend_on_its_batch(cell: str, merge: Merge) -> None:
    """A whole sequence, both directions, all poolings, gives the same bits alone and among ragged others."""
    recurrent = RecurrentSpec.uniform(
        cell=cell, input_size=11, hidden_size=37, layers=2, bidirectional=True, merge=merge
    )
    pooling = ("last", "mean", "max")
    spec = NetworkSpec(input=FeatureInputSpec(size=11), recurrent=recurrent, pooling=pooling)
    network = Network.build(spec, random_parameters(spec))
    sequences = ragged([700, 23, 23, 22, 9, 9, 8, 5, 1, 1], 11)
    together = pack(sequences)
    summaries = network.summarize(together.data, together.batch_sizes)
    for row, sequence in enumerate(sequences):
        alone = pack([sequence])
        assert torch.equal(network.summarize(alone.data, alone.batch_sizes)[0], summaries[row])


def test_a_loud_neighbour_changes_nothing() -> None:
    """Huge and non-finite values in one row leave the bits of the others as they are."""
    recurrent = RecurrentSpec.uniform(cell="lstm", input_size=6, hidden_size=20)
    spec = NetworkSpec(input=FeatureInputSpec(size=6), recurrent=recurrent)
    network = Network.build(spec, random_parameters(spec))
    quiet = torch.randn(9, 6)
    loud = quiet.clone()
    loud[4] = 1e30
    loud[5] = torch.nan
    expected, _ = network.step(quiet, network.layout.zeros(9))
    actual, _ = network.step(loud, network.layout.zeros(9))
    others = [0, 1, 2, 3, 6, 7, 8]
    assert torch.equal(actual[others], expected[others])


@pytest.mark.parametrize("columns", [1, 2, 13, 52, 96, 1000])
@pytest.mark.parametrize("terms", [1, 13, 96, 512, 670, 1024, 1100])
def test_a_proven_kernel_exists_for_odd_shapes(columns: int, terms: int) -> None:
    """Some kernel proves itself for every shape, and it multiplies rightly."""
    weight, bias = torch.randn(columns, terms), torch.randn(columns)
    choice = choose_kernel(weight, bias)
    assert choice.reproducible
    x = torch.randn(7, terms)
    exact = x.double() @ weight.double().T + bias.double()
    assert float((choice.kernel.product(x).double() - exact).abs().max()) < 1e-6 * terms + 1e-5


@pytest.mark.parametrize("columns", [1, 2, 13, 96])
@pytest.mark.parametrize("least_rows", [1, 2, 4])
@pytest.mark.parametrize("tile_rows", [None, 2, 16])
def test_the_slower_kernels_multiply(columns: int, least_rows: int, tile_rows: int | None) -> None:
    """They give x W^T + b for fewer rows than they need, for more, for one column, for long sums."""
    weight, bias = torch.randn(columns, 1100) / 30, torch.randn(columns)
    kernel: Kernel = PlainKernel(weight, bias, least_rows=least_rows)
    if tile_rows is not None:
        kernel = TiledKernel(kernel, tile_rows)
    for rows in (1, 2, 3, 16, 17, 40):
        x, base = torch.randn(rows, 1100), torch.randn(rows, columns)
        assert torch.allclose(kernel.product(x), x @ weight.T + bias, atol=1e-5)
        assert torch.allclose(kernel.add_to(x, base.clone()), base + x @ weight.T, atol=1e-5)


class Fickle(PlainKernel):
    """It sums in another order when there are few rows, as libraries do."""

    def product(self, x: Tensor) -> Tensor:
        if x.shape[0] >= 3:
            return super().product(x)
        return super().product(x * 1.0000001)


def test_the_proof_refuses_a_kernel_whose_rows_depend_on_the_batch() -> None:
    """A kernel that sums in another order for small batches is not taken for row-independent."""
    weight = torch.randn(40, 70)
    assert not is_row_independent(Fickle(weight, None, least_rows=8), weight)


@pytest.mark.parametrize("rows", [1, 15, 16, 40])
def test_what_cannot_prove_itself_is_fast_by_default_and_tiled_when_asked_for(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the setting the network says that its rows depend on the batch; with it the same kernel, in tiles of one
    size, proves that they do not.
    """
    monkeypatch.setattr(kernels, "_candidates", lambda weight, bias: iter([Fickle(weight, bias)]))
    weight, x = torch.randn(40, 70), torch.randn(rows, 70)
    fast = choose_kernel(weight, None)
    assert not fast.reproducible
    assert isinstance(fast.kernel, Fickle)
    tiled = choose_kernel(weight, None, reproducible=True)
    assert tiled.reproducible
    assert torch.equal(tiled.kernel.product(x[:1])[0], tiled.kernel.product(x)[0])
    assert not Dense(weight).reproducible
    assert Dense(weight, None, Arithmetic(reproducible=True)).reproducible


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_recorded_network_gives_the_same_bits(cell: str, precision: Precision) -> None:
    """Chunks and whole documents, in one direction and both, are the same after `record` as before."""
    generator = torch.Generator().manual_seed(11)
    for bidirectional in (False, True):
        spec = NetworkSpec(
            input=TokenInputSpec(vocabulary_size=40, embedding_size=16),
            recurrent=RecurrentSpec.uniform(
                cell=cell, input_size=16, hidden_size=48, layers=2, bidirectional=bidirectional
            ),
            pooling=("mean", "max"),
        )
        network = Network.build(spec, random_parameters(spec), arithmetic=Arithmetic(precision=precision))
        sizes = (150, 40, 7, 1, 1)
        inputs = torch.randint(0, 40, (sum(sizes),), generator=generator)
        outcomes = []
        for recorded in (False, True):
            if recorded:
                network.record()
            outcome = [network.summarize(inputs, sizes).clone()]
            if not bidirectional:
                state = network.layout.zeros(150)
                outcome += [network.scan(inputs, sizes, state).clone(), *state]
            outcomes.append(outcome)
        assert all(map(torch.equal, *outcomes))
