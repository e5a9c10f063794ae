"""The online backend over graphs, with a stand-in for the GPU: every tick answers what it answers without them."""

import numpy as np
import pytest
import torch
from gatehouse_server.engine.graphed_programs import GraphedPrograms
from gatehouse_server.engine.programs import PlainPrograms

from tests.engine.fake_graphs import ReplayingGraphs
from tests.gpu.model import Sessions, V, spec_of, weights_of

COUNT = 21
CPU = torch.device("cpu")


@pytest.mark.parametrize("most_rows", [COUNT, 8])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_ticks_of_every_kind_have_the_bits_of_those_without_graphs(name, most_rows):
    """Single steps and chunks, alone and together, entries left out and not, ticks larger than the largest bucket."""
    spec = spec_of(name, layers=2, hidden=24)
    weights = weights_of(spec)
    plain = Sessions(
        spec,
        weights,
        CPU,
        count=COUNT,
        programs_of=lambda arithmetic: PlainPrograms(arithmetic, tile_rows=128),
    )
    graphed = Sessions(
        spec,
        weights,
        CPU,
        count=COUNT,
        programs_of=lambda arithmetic: GraphedPrograms(arithmetic, ReplayingGraphs(), most_rows=most_rows),
    )
    random = np.random.default_rng(1)
    everybody = np.arange(COUNT)
    for count, steps, suppressed in (
        (1, 1, False),
        (5, 1, True),
        (COUNT, 1, False),
        (3, 4, True),
        (9, 1, True),
        (COUNT, 2, False),
        (1, 3, False),
        (2, 1, False),
    ):
        who = random.permutation(COUNT)[:count]
        inputs = random.integers(0, V, (steps, count))
        expected, actual = (each.write(who, inputs, suppressed=suppressed) for each in (plain, graphed))
        assert np.array_equal(actual.best_ids, expected.best_ids)
        assert np.array_equal(actual.best_values, expected.best_values)
        assert np.array_equal(actual.vectors, expected.vectors)
        assert np.array_equal(actual.scores, expected.scores)
        assert np.array_equal(graphed.states(everybody), plain.states(everybody))
