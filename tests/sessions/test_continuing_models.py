"""Models go on as they can: forecasts, from a vector, from a prompt; what a model cannot do is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions.continuations import ForecastContinuation
from safetensors.torch import load_file

from tests.sessions.desk import Desk
from tests.sessions.generating import INITIAL_SIZE, generate, request, rows_in_use, whole_output
from tests.sessions.plain_networks import PlainNetwork
from tests.tiny import KEYBOARD_WORDS, MELODY_NOTES

NEVER = [KEYBOARD_WORDS.index(word) for word in ("<unk>", "damn")]
HOW_ARE = [KEYBOARD_WORDS.index(word) for word in ("how", "are")]


def test_a_forecast_feeds_its_values_back(generating: Desk, generating_models: Path) -> None:
    """Each vector is what plain torch answers when it is given all of them so far."""
    plain = PlainNetwork(generating_models / "weather" / "1")
    past = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    made = generate(generating, request("weather", past, max_steps=7, count=1))
    tape = tuple(tuple(map(float, row)) for row in past)
    for step in made.steps[0]:
        assert step.values is not None
        expected = plain.outputs(tape)[-1]
        assert step.values == pytest.approx(expected.numpy(), abs=1e-5)
        assert step.position == len(tape)
        tape = (*tape, tuple(map(float, step.values)))
    assert [end.reason for end in made.ends] == ["length"]
    assert len(made.steps[0]) == 7


def test_a_forecast_that_has_not_begun_has_no_steps() -> None:
    """Whoever counts them may do so at any time, also when the first output could not be taken."""
    forecast = ForecastContinuation(0, "sequence", position=3, max_steps=2)
    assert len(forecast.steps) == 0
    with pytest.raises(InvalidInput, match="nothing to go on with"):
        forecast.take(np.array([np.inf], dtype=np.float32))
    assert len(forecast.steps) == 0


def test_a_forecast_moves_its_session_along(generating: Desk) -> None:
    """The values that were made are steps of the tape afterwards."""
    past = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    session, by_hand = (generating.create("weather").session_id for _ in range(2))
    generating.write(session, past)
    made = generate(generating, request(None, session_id=session, max_steps=4, advance=True))
    assert generating.one(made.write).state.position == 9
    values = np.array([step.values for step in made.steps[0]], dtype=np.float32)
    generating.write(by_hand, np.concatenate([past, values]))
    assert whole_output(generating, session, past[:1]) == whole_output(generating, by_hand, past[:1])


@pytest.mark.parametrize(
    ("model", "fields", "says"),
    [
        ("motion", {"prompt": np.ones((1, 3), dtype=np.float32)}, "motion@1 does not predict its own input"),
        ("topics", {"prompt": "the cell"}, "cannot run online"),
        ("melody", {}, "prompt: expected at least one step"),
        ("weather", {}, "prompt: expected at least one step"),
        ("weather", {"prompt": "rain"}, "not text"),
        ("weather", {"prompt": np.ones((1, 2), dtype=np.float32)}, r"(T, 3)"),
        ("weather", {"prompt": np.full((1, 3), np.inf, dtype=np.float32)}, "finite"),
        ("weather", {"prompt": np.ones((1, 3), dtype=np.float32), "stop_ids": (1,)}, "no tokens to stop at"),
        ("keyboard", {"initial": np.ones((1, 5), dtype=np.float32)}, "no input for its first state"),
        ("captions", {"initial": np.ones((1, 4), dtype=np.float32)}, "(T, 5)"),
        ("captions", {"initial": np.full((1, 5), np.nan, dtype=np.float32)}, "finite"),
    ],
)
def test_what_a_model_cannot_do_is_told_in_one_line(
    generating: Desk, model: str, fields: dict[str, Any], says: str
) -> None:
    """The field is named, and no sequence is left open."""
    (outcome,) = generating.ask(request(model, **fields))
    assert isinstance(outcome, InvalidInput)
    assert says in outcome.message
    assert "\n" not in outcome.message
    assert rows_in_use(generating) == 0


def test_a_vector_sets_the_first_state(generating: Desk, generating_models: Path) -> None:
    """The state is that of the dense layer; the start token is consumed from there, then the prompt."""
    vector = np.linspace(-1, 1, INITIAL_SIZE, dtype=np.float32)[None]
    made = generate(generating, request("captions", HOW_ARE, initial=vector, max_steps=6))
    plain = PlainNetwork(generating_models / "captions" / "1")
    weights = load_file(generating_models / "captions" / "1" / "model.safetensors")
    state = torch.tanh(weights["initial.weight"] @ torch.from_numpy(vector[0]) + weights["initial.bias"])
    plain.first_state = (state[:16].view(1, 1, 16), state[16:].view(1, 1, 32))
    tape = list(HOW_ARE)
    for step in made.steps[0]:
        expected = plain.log_probabilities(tape)[-1].clone()
        expected[list(NEVER)] = -torch.inf
        assert step.token_id == int(expected.argmax())
        assert step.log_probability == pytest.approx(float(expected.max()), abs=1e-5)
        tape.append(step.token_id)
    assert made.steps != generate(generating, request("captions", HOW_ARE, max_steps=6)).steps


def test_a_model_without_a_start_token_goes_on_from_a_prompt(
    generating: Desk, generating_models: Path
) -> None:
    """It has no end token either: it always gives as many steps as were asked for."""
    plain = PlainNetwork(generating_models / "melody" / "1")
    made = generate(generating, request("melody", [3, 4, 5], max_steps=9))
    tape = [3, 4, 5]
    for token in made.tokens():
        values = plain.log_probabilities(tape)[-1].clone()
        values[MELODY_NOTES.index("<unk>")] = -torch.inf
        assert token == int(values.argmax())
        tape.append(token)
    assert len(tape) == 12
