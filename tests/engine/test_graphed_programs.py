"""The graphs of a GPU, with a stand-in for the GPU: buckets, padding, staging and what may be captured."""

import numpy as np
import pytest
import structlog
import torch
from gatehouse_server.engine.graphed_programs import GraphedPrograms, buckets_of
from gatehouse_server.engine.programs import PlainPrograms, TickArithmetic
from gatehouse_server.network.arithmetic import Arithmetic
from gatehouse_server.network.kernel import TILE_ROWS_OF_GPU
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
    parameter_shapes,
)
from gatehouse_server.network.workspace import Workspace

from tests.engine.fake_graphs import RepeatingGraphs, ReplayingGraphs

V = 1300
"""Large enough for 16 entries to be ranked in blocks."""

ROWS = 100
MOST_ROWS = 20
SUPPRESSED = (4, 7, 1299)
SIZES = (1, 2, 3, 4, 5, 8, 9, 16, 17, 19, 20)


def network(cell="lstm", *, layers=1, projection=0, features=0, head="softmax", fold=True, **arithmetic):
    """Random weights."""
    width = features or 12
    spec = NetworkSpec(
        input=FeatureInputSpec(size=features)
        if features
        else TokenInputSpec(vocabulary_size=V, embedding_size=width),
        recurrent=RecurrentSpec.uniform(
            cell=cell, input_size=width, hidden_size=20, layers=layers, projection_size=projection
        ),
        head=None if head is None else HeadSpec(kind=head, size=V),
    )
    generator = torch.Generator().manual_seed(3)
    weights = {
        name: torch.randn(shape, generator=generator) / 4 for name, shape in parameter_shapes(spec).items()
    }
    return Network.build(
        spec, weights, fold_limit_bytes=2**30 if fold else 0, arithmetic=Arithmetic(**arithmetic)
    )


class Pair:
    """The same model twice, each with its own table of random states: one as it is written, one as graphs."""

    def __init__(self, model, graphs=None, most_rows=MOST_ROWS, suppressed=SUPPRESSED):
        generator = torch.Generator().manual_seed(5)
        states = [torch.randn(ROWS + 2, part.width, generator=generator) for part in model.layout.parts]
        self.plain_table, self.table = ([part.clone() for part in states] for _ in range(2))
        self.plain = PlainPrograms(TickArithmetic(model, self.plain_table, suppressed), tile_rows=10_000)
        self.graphs = graphs or ReplayingGraphs()
        self.graphed = GraphedPrograms(
            TickArithmetic(model, self.table, suppressed), self.graphs, most_rows=most_rows
        )
        self.buckets = buckets_of(most_rows, reproducible=model.arithmetic.reproducible)
        self.model = model
        self.random = np.random.default_rng(1)

    def tick(self, rows):
        """Inputs, sources (some of them twice) and targets for so many rows, and flags."""
        spec = self.model.spec.input
        inputs = (
            self.random.standard_normal((rows, spec.size), dtype=np.float32)
            if isinstance(spec, FeatureInputSpec)
            else self.random.integers(0, V, rows)
        )
        targets = 1 + self.random.permutation(ROWS)[:rows]
        others = np.setdiff1d(np.arange(ROWS + 1), targets)
        return (
            inputs,
            self.random.choice(others, rows),
            targets.astype(np.int64),
            self.random.random(rows) < 0.5,
        )

    def assert_same_tables(self):
        """But for the row that belongs to nobody."""
        for left, right in zip(self.plain_table, self.table, strict=True):
            assert torch.equal(left[: ROWS + 1], right[: ROWS + 1])


def assert_same(expected, actual):
    """Readings, to the bit."""
    assert np.array_equal(actual.values, expected.values)
    assert actual.values.dtype == np.float32
    assert np.array_equal(actual.ids, expected.ids)
    assert actual.ids.dtype == np.int64
    assert torch.equal(actual.normalizer, expected.normalizer)
    assert torch.equal(actual.logits, expected.logits)


def run_all(pair, sizes, ks=(0, 5, 16)):
    """Steps, readings and both at once, of each size, in one order on both sides."""
    with torch.inference_mode():
        for rows in sizes:
            inputs, sources, targets, flags = pair.tick(rows)
            totals = [each.step(inputs, sources, targets) for each in (pair.plain, pair.graphed)]
            if rows in pair.buckets:  # else rows left over count, too
                assert totals[0] == totals[1]
            pair.assert_same_tables()
            for k in ks:
                for suppressed in (None, flags):
                    assert_same(
                        pair.plain.read(sources, k, suppressed), pair.graphed.read(sources, k, suppressed)
                    )
                    inputs, sources, targets, _ = pair.tick(rows)
                    _, expected = pair.plain.step_and_read(inputs, sources, targets, k, suppressed)
                    _, actual = pair.graphed.step_and_read(inputs, sources, targets, k, suppressed)
                    assert_same(expected, actual)
                    pair.assert_same_tables()


@pytest.mark.parametrize("graphs", [RepeatingGraphs, ReplayingGraphs])
@pytest.mark.parametrize(
    "options",
    [
        {"cell": "lstm"},
        {"cell": "lstm", "layers": 2, "projection": 8},
        {"cell": "lstm", "features": 9},
        {"cell": "lstm", "fold": False},
        {"cell": "gru", "layers": 2},
        {"cell": "gru", "features": 9, "head": "sigmoid"},
        {"cell": "rnn_tanh"},
        {"cell": "rnn_relu", "layers": 2, "head": "linear"},
        {"cell": "lstm", "precision": "int8"},
        {"cell": "gru", "precision": "bfloat16"},
        {"cell": "gru", "reproducible": True},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_graphs_give_the_bits_of_what_they_captured(options, graphs):
    """For every cell and input, at sizes around the buckets' edges, with what earlier ticks left in the padding."""
    run_all(Pair(network(**options), graphs()), SIZES)


def test_a_model_without_a_head_steps():
    """It has no readings, and no graph for them."""
    with structlog.testing.capture_logs() as lines:
        pair = Pair(network(head=None))
    assert lines[0]["graphs"] == len(pair.buckets)
    run_all(pair, (1, 5, 20), ks=())


def test_there_are_graphs_for_what_the_vocabulary_can_rank():
    """Where most entries are left out, sixteen cannot be ranked, and five can."""
    with structlog.testing.capture_logs() as lines:
        pair = Pair(network(), suppressed=range(V - 5))
    assert lines[0]["graphs"] == len(pair.buckets) * (1 + 2 * 2)
    run_all(pair, (1, 9), ks=(0, 5))


def test_what_is_left_over_of_a_bucket_touches_nobody():
    """However full the table is, ticks smaller than their bucket change their targets and nothing else."""
    pair = Pair(network())
    before = [part.clone() for part in pair.table]
    with torch.inference_mode():
        inputs, sources, targets, _ = pair.tick(9)
        pair.graphed.step(inputs, sources, targets)
    untouched = np.setdiff1d(np.arange(ROWS + 1), targets)
    for part, kept in zip(pair.table, before, strict=True):
        assert torch.equal(part[untouched], kept[untouched])
        assert not torch.equal(part[targets], kept[targets])


def test_states_that_are_not_finite_do_not_stay_in_the_padding():
    """A tick with an infinite state is told by its total; the smaller one after it, in the same bucket, is finite."""
    pair = Pair(network("rnn_relu", features=3), most_rows=8)
    inputs, sources, targets, _ = pair.tick(8)
    with torch.inference_mode():
        assert np.isfinite(pair.graphed.step(inputs, sources, targets))
        inputs[:] = np.inf
        assert not np.isfinite(pair.graphed.step(inputs, sources, targets))
        inputs, sources, targets, _ = pair.tick(5)
        pair.table[0][sources] = 0.0
        pair.table[0][-1] = torch.inf  # the row that belongs to nobody is written, and never read by a step
        assert np.isfinite(pair.graphed.step(inputs, sources, targets))
        assert pair.table[0][-1].isfinite().all()


def test_a_tick_reads_what_the_one_before_it_wrote():
    """Two ticks in a row, the second with larger or smaller rows: the second starts where the first ended."""
    for first, second in ((3, 3), (9, 4), (4, 9)):
        pair = Pair(network(layers=2))
        with torch.inference_mode():
            inputs, sources, targets, _ = pair.tick(first)
            next_inputs, next_sources, next_targets, _ = pair.tick(second)
            next_sources[: min(first, second)] = targets[: min(first, second)]
            next_targets = (
                1 + np.setdiff1d(np.arange(ROWS), np.concatenate([next_sources, targets]) - 1)[:second]
            )
            for programs in (pair.plain, pair.graphed):
                programs.step_and_read(inputs, sources, targets, 5, None)
            readings = [
                programs.step_and_read(next_inputs, next_sources, next_targets, 5, None)[1]
                for programs in (pair.plain, pair.graphed)
            ]
        assert_same(*readings)
        pair.assert_same_tables()


def test_scratch_memory_of_a_capture_is_kept_and_nobody_elses(monkeypatch):
    """Whatever a captured function takes of the network's scratch memory lives as long as the graphs, and is not what
    the network uses otherwise, which moves as it grows.
    """
    taken = []
    take = Workspace.take

    def noting(workspace, name, rows, width):
        buffer = take(workspace, name, rows, width)
        taken.append(buffer.data_ptr())
        return buffer

    monkeypatch.setattr(Workspace, "take", noting)
    model = network(fold=False, layers=2, projection=8)
    pair = Pair(model)
    of_graphs = set(taken)
    assert of_graphs
    assert of_graphs == {buffer.data_ptr() for buffer in pair.graphed._scratch.values()}
    taken.clear()
    with torch.inference_mode():
        model.scan(torch.zeros(6000, dtype=torch.int64), (3000, 3000), model.layout.zeros(3000))
    assert not of_graphs & set(taken)
    run_all(pair, (5, 20), ks=(5,))


def test_a_tick_waits_once():
    """One wait for the device in a call, whatever it does."""
    pair = Pair(network())
    inputs, sources, targets, flags = pair.tick(6)
    with torch.inference_mode():
        for call in (
            lambda: pair.graphed.step(inputs, sources, targets),
            lambda: pair.graphed.read(targets, 5, flags),
            lambda: pair.graphed.step_and_read(inputs, sources, targets, 16, flags),
        ):
            before = pair.graphs.waits
            call()
            assert pair.graphs.waits == before + 1


@pytest.mark.parametrize(
    ("most_rows", "expected"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (3, (1, 2, 3)),
        (20, (1, 2, 4, 8, 16, 20)),
        (256, (1, 2, 4, 8, 16, 32, 64, 128, 256)),
        (100_000, (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)),
    ],
)
def test_buckets_are_powers_of_two_up_to_the_largest_tick(most_rows, expected):
    """And 4096 rows at most; where answers have to be reproducible there is one."""
    assert buckets_of(most_rows, reproducible=False) == expected
    assert buckets_of(most_rows, reproducible=True) == (TILE_ROWS_OF_GPU,)


def test_the_log_tells_how_many_graphs_and_how_long():
    """A line when capturing begins and one when it has ended."""
    with structlog.testing.capture_logs() as lines:
        Pair(network(), RepeatingGraphs(), most_rows=4)
    assert [line["event"] for line in lines] == ["capturing graphs", "graphs captured"]
    assert lines[0]["graphs"] == lines[1]["graphs"] == 3 * (1 + 2 * 3)
    assert lines[0]["buckets"] == [1, 2, 4]
    assert lines[1]["seconds"] >= 0


def test_the_stand_in_refuses_what_a_gpu_refuses():
    """A function whose course depends on a number on the device cannot be captured."""
    numbers = torch.ones(3)

    def doubled_when_positive():
        if float(numbers.sum()) > 0:
            numbers.mul_(2)

    with torch.inference_mode(), pytest.raises(RuntimeError, match="cannot be captured"):
        ReplayingGraphs().capture(doubled_when_positive)
