"""Whole sequences read with torch's fused kernels, in slices: what the scan gives, and torch's modules alone."""

import pytest
import torch
from gatehouse_server.network.fused_layers import FusedLayers
from gatehouse_server.network.fused_reading import FusedReader
from gatehouse_server.network.layer_spec import Merge
from gatehouse_server.network.network import Network
from gatehouse_server.network.packing import pack
from gatehouse_server.network.spec import RecurrentSpec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network.recurrents import recurrents

from .oracle import random_parameters
from .readings import RECURRENTS, drained, expected_of, inputs_of, spec_of, ticking

# torch says so itself when it computes projections; on a CPU these kernels only have to be right, not fast.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

SLOW = 1.0
CLOCKS = {
    "a step at a time": lambda: ticking(SLOW),
    "all at once": lambda: ticking(1e-7),
    "now more, now fewer": lambda: ticking(1e-7, SLOW, SLOW, 1e-4, 0.0012),
}


@settings(max_examples=60, deadline=None)
@given(
    recurrent=recurrents(),
    lengths=st.lists(st.integers(1, 24), min_size=1, max_size=6).map(lambda lengths: sorted(lengths)[::-1]),
    pooling=st.sampled_from([("last",), ("mean",), ("max",), ("max", "last", "mean")]),
    tokens=st.booleans(),
    clock=st.sampled_from(sorted(CLOCKS)),
)
def test_summaries_equal_torch(
    recurrent: RecurrentSpec, lengths: list[int], pooling: tuple[str, ...], tokens: bool, clock: str
) -> None:
    """Every cell, merge and pooling, on ragged batches down to one step, in slices of any length: to 1e-5."""
    spec = spec_of(recurrent, tokens=tokens, pooling=pooling)
    parameters = random_parameters(spec)
    sequences = inputs_of(spec, lengths)
    packed = pack(sequences)
    reader = FusedReader(FusedLayers(spec, parameters, "cpu"), pooling, CLOCKS[clock]())
    actual, _ = drained(reader.summarize(packed.data, packed.batch_sizes))
    expected = expected_of(spec, parameters, sequences)
    # Sums of rectifiers grow with the sequence, so the tolerance is relative where they are large.
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("merge", ["concat", "sum", "average", "multiply"])
@pytest.mark.parametrize("clock", sorted(CLOCKS))
def test_summaries_equal_the_scan(merge: Merge, clock: str) -> None:
    """A batch of fifty ragged sequences, most of them of the same length, with every pooling."""
    recurrent = RecurrentSpec.uniform(
        cell="lstm", input_size=7, hidden_size=12, layers=2, bidirectional=True, merge=merge
    )
    spec = spec_of(recurrent, tokens=True, pooling=("max", "mean", "last"))
    parameters = random_parameters(spec)
    packed = pack(inputs_of(spec, [80] * 30 + [79, 70, 70, 40, 40, 40] + [2] * 10 + [1] * 4))
    fused = FusedReader(FusedLayers(spec, parameters, "cpu"), spec.pooling, CLOCKS[clock]())
    stepped = Network.build(spec, parameters).reader()
    actual, expected = (
        drained(each.summarize(packed.data, packed.batch_sizes))[0] for each in (fused, stepped)
    )
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("seconds", "least", "most"), [(SLOW, 2 * 285, 2 * 300), (1e-7, 10, 30)])
def test_slices_are_as_long_as_their_time_allows(seconds: float, least: int, most: int) -> None:
    """Of 300 steps each is a slice of its own where it takes long, in both directions; otherwise a few are enough."""
    spec = spec_of(
        RecurrentSpec.uniform(cell="gru", input_size=3, hidden_size=4, bidirectional=True), tokens=False
    )
    parameters = random_parameters(spec)
    reader = FusedReader(FusedLayers(spec, parameters, "cpu"), spec.pooling, ticking(seconds))
    packed = pack(inputs_of(spec, [300, 200, 7]))
    _, slices = drained(reader.summarize(packed.data, packed.batch_sizes))
    assert least <= slices <= most


@pytest.mark.parametrize("recurrent", RECURRENTS)
def test_two_batches_at_a_time_do_not_disturb_each_other(recurrent: RecurrentSpec) -> None:
    """Two readers of the same layers, slice by slice in turn, give what each gives alone; so does a reused one."""
    spec = spec_of(recurrent, tokens=True, pooling=("mean", "max", "last"))
    parameters = random_parameters(spec)
    layers = FusedLayers(spec, parameters, "cpu")
    batches = [inputs_of(spec, [40, 31, 31, 2], seed=1), inputs_of(spec, [60, 9, 1], seed=2)]
    readers = [FusedReader(layers, spec.pooling, ticking(SLOW)) for _ in batches]
    for again in (False, True):
        running = dict(enumerate(batches[::-1] if again else batches))
        works = {
            place: reader.summarize(pack(running[place]).data, pack(running[place]).batch_sizes)
            for place, reader in enumerate(readers)
        }
        with torch.inference_mode():
            while works:
                for place, work in list(works.items()):
                    try:
                        next(work)
                    except StopIteration as finished:
                        expected = expected_of(spec, parameters, running[place])
                        torch.testing.assert_close(finished.value, expected, rtol=1e-5, atol=1e-5)
                        del works[place]


@pytest.mark.parametrize("recurrent", RECURRENTS)
@pytest.mark.parametrize("slices", [1, 17, 60])
def test_a_batch_may_be_dropped_at_any_time(recurrent: RecurrentSpec, slices: int) -> None:
    """What follows on the same reader is right."""
    spec = spec_of(recurrent, tokens=True)
    parameters = random_parameters(spec)
    reader = FusedReader(FusedLayers(spec, parameters, "cpu"), spec.pooling, ticking(SLOW))
    dropped = pack(inputs_of(spec, [50, 50, 50], seed=5))
    with torch.inference_mode():
        work = reader.summarize(dropped.data, dropped.batch_sizes)
        for _ in range(slices):
            next(work)
        work.close()
    sequences = inputs_of(spec, [12, 5])
    packed = pack(sequences)
    actual, _ = drained(reader.summarize(packed.data, packed.batch_sizes))
    torch.testing.assert_close(actual, expected_of(spec, parameters, sequences), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [(), (1, 2), (2,)])
def test_batch_sizes_that_do_not_fit_are_refused(sizes: tuple[int, ...]) -> None:
    """No step, steps that grow and sizes that do not add up raise ValueError."""
    spec = spec_of(RECURRENTS[0], tokens=False)
    reader = FusedReader(FusedLayers(spec, random_parameters(spec), "cpu"), spec.pooling)
    with pytest.raises(ValueError, match="batch_sizes"):
        drained(reader.summarize(torch.zeros(3, 5), sizes))
