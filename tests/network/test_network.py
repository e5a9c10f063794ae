"""The network's contract: states, shapes, memory, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from gatehouse_server.network.layer_spec import LayerDirection, LayerSpec, Merge
from gatehouse_server.network.network import Network
from gatehouse_server.network.packing import Packed, batch_sizes_of, lengths_of, pack, unpack
from gatehouse_server.network.spec import FeatureInputSpec, NetworkSpec, RecurrentSpec, TokenInputSpec

from .oracle import ragged, random_parameters

_RECURRENT = RecurrentSpec.uniform(cell="lstm", input_size=6, hidden_size=8, layers=2, projection_size=5)
_SPEC = NetworkSpec(input=FeatureInputSpec(size=6), recurrent=_RECURRENT)


def _in_directions(direction: LayerDirection, merge: Merge = "concat") -> RecurrentSpec:
    layer = LayerSpec(
        cell="lstm", input_size=6, hidden_size=8, projection_size=5, direction=direction, merge=merge
    )
    return RecurrentSpec(layers=(layer,))


def _network(spec: NetworkSpec = _SPEC) -> Network:
    return Network.build(spec, random_parameters(spec))


def test_the_layout_names_every_part() -> None:
    """The state's parts come layer by layer, h before c, and the output part is the top layer's h."""
    layout = _network().layout
    assert [(part.name, part.width) for part in layout.parts] == [
        ("layer0.h", 5),
        ("layer0.c", 8),
        ("layer1.h", 5),
        ("layer1.c", 8),
    ]
    assert layout.output_part == 2
    assert layout.bytes_per_row == 4 * (5 + 8 + 5 + 8)


def test_the_output_part_is_the_output() -> None:
    """After a step the output part of the state holds what the step returned."""
    network = _network()
    output, state = network.step(torch.randn(3, 6), network.layout.zeros(3))
    assert torch.equal(state[network.layout.output_part], output)


def test_scan_updates_its_state_in_place_and_step_does_not() -> None:
    """scan leaves the new state in the caller's tensors; step returns a new one and keeps the old."""
    network = _network()
    x = torch.randn(3, 6)
    before = network.layout.zeros(3)
    _, after = network.step(x, before)
    assert all(bool((part == 0).all()) for part in before)
    network.scan(x, (3,), before)
    assert all(torch.equal(left, right) for left, right in zip(before, after, strict=True))


def test_rows_beyond_the_batch_and_finished_rows_stay() -> None:
    """A scan of fewer or shorter sequences than the state has rows leaves the other rows as they are."""
    network = _network()
    state = tuple(torch.randn(4, part.width) for part in network.layout.parts)
    before = tuple(part.clone() for part in state)
    network.scan(torch.randn(5, 6), (3, 2), state)
    alone = tuple(part[2:3].clone() for part in before)
    assert all(torch.equal(new[3], old[3]) for new, old in zip(state, before, strict=True))
    assert not any(torch.equal(new[2], old[2]) for new, old in zip(state, before, strict=True))
    assert all(part.shape[0] == 1 for part in alone)


def test_scratch_memory_does_not_leak_between_calls() -> None:
    """A small call after a large one gives what it gave before it."""
    network = _network()
    small, large = pack(ragged([3, 1], 6)), pack(ragged([30, 20, 10], 6, seed=1))
    first = network.encode(small.data, small.batch_sizes).clone()
    network.encode(large.data, large.batch_sizes)
    assert torch.equal(network.encode(small.data, small.batch_sizes), first)


def test_a_bidirectional_network_cannot_be_stepped() -> None:
    """It has no state between steps, and says so."""
    network = _network(replace(_SPEC, recurrent=_in_directions("both")))
    with pytest.raises(ValueError, match="bidirectional"):
        _ = network.layout
    with pytest.raises(ValueError, match="bidirectional"):
        network.scan(torch.randn(1, 6), (1,), ())


def test_last_needs_the_directions_apart() -> None:
    """Pooling "last" from merged outputs of two directions is refused, with the way out."""
    recurrent = _in_directions("both", merge="sum")
    network = _network(replace(_SPEC, recurrent=recurrent, pooling=("last",)))
    x = torch.randn(4, 6)
    with pytest.raises(ValueError, match="needs summarize"):
        network.pool(network.encode(x, (2, 2)), (2, 2))
    assert network.summarize(x, (2, 2)).shape == (2, 5)


@pytest.mark.parametrize(
    ("inputs", "batch_sizes", "message"),
    [
        (torch.zeros(3, 6), (1, 2), "never grow"),
        (torch.zeros(3, 6), (2,), "expected a sum of 3 rows, got 2"),
        (torch.zeros(3, 6), (), "at least one step"),
        (torch.zeros(3, 6), (3, 0), "expected positive numbers, got 0"),
        (torch.zeros(3, 7), (3,), r"expected float32 \(N, 6\), got torch.float32 \(3, 7\)"),
        (torch.zeros(3, dtype=torch.int64), (3,), r"expected float32 \(N, 6\)"),
    ],
)
def test_misshapen_inputs_are_refused(
    inputs: torch.Tensor, batch_sizes: tuple[int, ...], message: str
) -> None:
    """Inputs and batch sizes that do not fit raise an error before the state is touched."""
    network = _network()
    state = network.layout.zeros(3)
    with pytest.raises(ValueError, match=message):
        network.scan(inputs, batch_sizes, state)
    assert all(bool((part == 0).all()) for part in state)


def test_a_misshapen_state_is_refused() -> None:
    """Too few rows, too few parts, a wrong width or a strided part raise an error naming the part."""
    network = _network()
    x = torch.zeros(3, 6)
    good = network.layout.zeros(3)
    with pytest.raises(ValueError, match=r"layer0.h: expected \(3 or more, 5\), got \(2, 5\)"):
        network.scan(x, (3,), network.layout.zeros(2))
    with pytest.raises(ValueError, match="expected 4 parts, got 3"):
        network.scan(x, (3,), good[:3])
    with pytest.raises(ValueError, match=r"layer0.h: expected a contiguous tensor"):
        network.scan(x, (3,), (torch.zeros(5, 3).t(), *good[1:]))


def test_folding_respects_its_limit() -> None:
    """The folded table is counted, and left out when it would exceed the limit."""
    recurrent = RecurrentSpec.uniform(cell="gru", input_size=6, hidden_size=32)
    spec = NetworkSpec(input=TokenInputSpec(vocabulary_size=10, embedding_size=6), recurrent=recurrent)
    table_bytes = 4 * 10 * 3 * 32
    parameters = random_parameters(spec)
    assert Network.build(spec, parameters, fold_limit_bytes=table_bytes).folded_bytes == table_bytes
    assert Network.build(spec, parameters, fold_limit_bytes=table_bytes - 1).folded_bytes == 0


def test_packing_goes_both_ways() -> None:
    """Packed sequences unpack to themselves, in torch's own order."""
    lengths = [5, 5, 3, 1]
    sequences = ragged(lengths, 2)
    packed = pack(sequences)
    theirs = torch.nn.utils.rnn.pack_sequence(sequences)
    assert torch.equal(packed.data, theirs.data)
    assert packed.batch_sizes == tuple(theirs.batch_sizes.tolist()) == batch_sizes_of(lengths)
    assert lengths_of(packed.batch_sizes) == tuple(lengths)
    assert all(torch.equal(left, right) for left, right in zip(unpack(packed), sequences, strict=True))
    with pytest.raises(ValueError, match="expected a sum of 4 rows, got 3"):
        Packed(data=torch.zeros(4, 2), batch_sizes=(2, 1))
    with pytest.raises(ValueError, match="longest first"):
        batch_sizes_of([1, 2])
