"""Readers that hand out the outputs of every step: each once, in its place, in the numbers that were asked for."""

from collections.abc import Generator

import pytest
import torch
from gatehouse_server.network.layer_spec import LayerSpec, Merge
from gatehouse_server.network.network import Network
from gatehouse_server.network.packing import Packed, pack, unpack
from gatehouse_server.network.spec import RecurrentSpec
from torch import Tensor

from .oracle import random_parameters, reference
from .readings import drained, inputs_of, spec_of

LENGTHS = [90, 33, 33, 7, 1]
LAYER = LayerSpec(cell="gru", input_size=5, hidden_size=8)
REVERSE = RecurrentSpec(
    layers=(LAYER, LayerSpec(cell="lstm", input_size=8, hidden_size=6, direction="reverse"))
)
FORWARD = RecurrentSpec(layers=(LAYER, LayerSpec(cell="gru", input_size=8, hidden_size=6)))


def both(merge: Merge) -> RecurrentSpec:
    """A layer in two directions over one in one."""
    top = LayerSpec(cell="gru", input_size=8, hidden_size=6, direction="both", merge=merge)
    return RecurrentSpec(layers=(LAYER, top))


@pytest.mark.parametrize("fused", [False, True], ids=["stepped", "fused"])
@pytest.mark.parametrize(
    "recurrent",
    [FORWARD, REVERSE, both("concat"), both("sum"), both("average"), both("multiply")],
    ids=["forward", "reverse", "concat", "sum", "average", "multiply"],
)
def test_every_output_is_handed_out_once(
    recurrent: RecurrentSpec, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the last rows come in the number that was asked for; they and the ends are what the equations say."""
    monkeypatch.setattr("gatehouse_server.network.network.are_layers_fused", lambda *_: fused)
    spec = spec_of(recurrent, tokens=False, pooling=())
    parameters = random_parameters(spec)
    network = Network.build(spec, parameters)
    sequences = inputs_of(spec, LENGTHS)
    packed = pack(sequences)
    found = torch.full((len(packed.data), recurrent.output_size), torch.nan)
    counts: list[int] = []

    def take(rows: Tensor, outputs: Tensor) -> Generator[None, None, None]:
        assert torch.isnan(found[rows]).all()
        found[rows] = outputs
        counts.append(len(rows))
        yield

    reader = network.reader()
    ends, pieces = drained(reader.hand_out(packed.data, packed.batch_sizes, take, rows_at_once=16))
    outputs, expected_ends = reference(recurrent, parameters, sequences)
    for mine, theirs in zip(unpack(Packed(data=found, batch_sizes=packed.batch_sizes)), outputs, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ends, expected_ends, atol=1e-5, rtol=1e-5)
    assert set(counts[:-1]) == {16}
    assert sum(counts) == sum(LENGTHS)
    assert pieces >= len(counts)


def test_a_reading_that_hands_out_may_be_dropped_at_any_time() -> None:
    """What it had gathered does not show in the next one."""
    spec = spec_of(both("concat"), tokens=False, pooling=())
    network = Network.build(spec, random_parameters(spec))
    packed = pack(inputs_of(spec, LENGTHS))
    reader = network.reader()

    def read() -> tuple[Generator[None, None, Tensor], list[int]]:
        counts: list[int] = []

        def take(rows: Tensor, outputs: Tensor) -> Generator[None, None, None]:
            counts.append(len(rows))
            yield

        return reader.hand_out(packed.data, packed.batch_sizes, take, rows_at_once=7), counts

    with torch.inference_mode():
        for pieces in (1, 9, 40):
            dropped, _ = read()
            for _ in range(pieces):
                next(dropped)
            dropped.close()
    whole, counts = read()
    drained(whole)
    assert sum(counts) == sum(LENGTHS)
