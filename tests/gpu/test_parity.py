"""The engine on a GPU answers what torch's own modules answer there."""

import numpy as np
import pytest
import torch
from gatehouse_server.engine.graphed_programs import GraphedPrograms
from gatehouse_server.engine.programs import PlainPrograms

from tests.gpu.model import SUPPRESSED, K, Sessions, V, plain_outputs, spec_of, weights_of

pytestmark = pytest.mark.gpu

COUNT, STEPS = 70, 6
SPECS = {
    "lstm": spec_of("lstm", layers=2),
    "projected": spec_of("lstm", hidden=670, projection=96),
    "gru": spec_of("gru", layers=2),
    "rnn": spec_of("rnn_tanh"),
    "features": spec_of("lstm", features=9),
    "odd": spec_of("gru", hidden=45),
}


def inputs_of(spec, steps=STEPS, count=COUNT):
    """Random inputs, (T, B) or (T, B, N)."""
    generator = torch.Generator().manual_seed(1)
    if hasattr(spec.input, "vocabulary_size"):
        return torch.randint(V, (steps, count), generator=generator)
    return torch.randn(steps, count, spec.input.size, generator=generator)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("chunk", [1, 3])
def test_answers_are_those_of_torch_on_the_same_gpu(name, chunk, device):
    """Best entries, log-probabilities and whole outputs, step by step and in chunks, for any number of sessions."""
    spec = SPECS[name]
    weights = weights_of(spec)
    inputs = inputs_of(spec)
    expected = plain_outputs(spec, weights, inputs, device).numpy()
    sessions = Sessions(spec, weights, device, count=COUNT)
    for count in (1, 5, COUNT):
        sessions.begin_anew()
        for begin in range(0, STEPS, chunk):
            answer = sessions.write(np.arange(count), inputs[begin : begin + chunk, :count].numpy())
            now = expected[begin + chunk - 1, :count]
            np.testing.assert_allclose(answer.vectors, now, atol=2e-4)
            np.testing.assert_allclose(answer.best_values[:, :K], -np.sort(-now, axis=1)[:, :K], atol=2e-4)
            np.testing.assert_allclose(
                np.take_along_axis(now, answer.best_ids[:, :K], 1), answer.best_values[:, :K], atol=2e-4
            )
            np.testing.assert_allclose(answer.scores, now[:, 7], atol=2e-4)


@pytest.mark.parametrize("name", SPECS)
def test_graphs_answer_what_they_captured(name, device):
    """Graphs and the same operators one by one agree, at sizes around the buckets, with entries left out and not; and
    leave alone the rows of whoever is not in the tick.
    """
    spec = SPECS[name]
    weights = weights_of(spec)
    inputs = inputs_of(spec)[0].numpy()
    graphed = Sessions(spec, weights, device, count=COUNT)
    plain = Sessions(
        spec,
        weights,
        device,
        count=COUNT,
        programs_of=lambda arithmetic: PlainPrograms(arithmetic, tile_rows=COUNT),
    )
    assert any(isinstance(each, GraphedPrograms) for each in graphed.backend._tiles._programs)
    everybody = np.arange(COUNT)
    random = np.random.default_rng(2)
    for count in (1, 2, 3, 8, 9, 33, 64, 65, COUNT, 4, 1):
        who = random.permutation(COUNT)[:count]
        before = graphed.states(everybody)
        for suppressed in (False, True):
            answers = [each.write(who, inputs[None, who], suppressed=suppressed) for each in (plain, graphed)]
            np.testing.assert_allclose(answers[1].best_values, answers[0].best_values, atol=1e-4)
            np.testing.assert_allclose(answers[1].vectors, answers[0].vectors, atol=1e-4)
            assert (np.isin(answers[1].best_ids, SUPPRESSED).any(axis=1) <= (not suppressed)).all()
        np.testing.assert_allclose(graphed.states(everybody), plain.states(everybody), atol=1e-4)
        others = np.setdiff1d(everybody, who)
        assert np.array_equal(graphed.states(others), before[others])


def test_a_large_tick_is_cut_into_tiles(device):
    """More sessions than the largest bucket are answered in several launches."""
    spec = SPECS["projected"]
    weights = weights_of(spec)
    inputs = inputs_of(spec, 1)
    sessions = Sessions(spec, weights, device, count=COUNT, most_rows=16)
    answer = sessions.write(np.arange(COUNT), inputs.numpy())
    np.testing.assert_allclose(
        answer.vectors, plain_outputs(spec, weights, inputs, device)[0].numpy(), atol=2e-4
    )
