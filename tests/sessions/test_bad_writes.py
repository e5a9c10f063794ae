"""What is wrong with a write is named, and nothing of it applied."""

import numpy as np
import pytest
from gatehouse_server.errors import InvalidInput, TapeFull
from gatehouse_server.sessions.limits import SessionLimits

from tests.sessions.desk import Desk


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({}, "EMPTY_INPUT", "inputs"),
        ({"inputs": []}, "EMPTY_INPUT", "tokens.ids"),
        ({"inputs": [66]}, "TOKEN_OUT_OF_RANGE", "tokens.ids[0]"),
        ({"inputs": [14, -1]}, "TOKEN_OUT_OF_RANGE", "tokens.ids[1]"),
        ({"inputs": "   "}, "EMPTY_INPUT", "text"),
        ({"inputs": [14] * 33}, "INPUT_TOO_LONG", "tokens.ids"),
        ({"inputs": "go " * 33}, "INPUT_TOO_LONG", "text"),
        ({"inputs": [14], "k": 0}, "K_OUT_OF_RANGE", "outputs.k"),
        ({"inputs": [14], "k": 67}, "K_OUT_OF_RANGE", "outputs.k"),
        ({"inputs": [14] * 32, "vector": True, "every_step": True}, "OUTPUTS_TOO_LARGE", "outputs"),
        ({"inputs": [14], "at": 3}, "POSITION_OUT_OF_RANGE", "at"),
        ({"inputs": [14], "at": -1}, "POSITION_OUT_OF_RANGE", "at"),
        ({"inputs": np.ones((1, 3), dtype=np.float32)}, "WRONG_INPUT_KIND", "inputs"),
    ],
)
def test_a_bad_write_is_refused_with_reason_and_field_and_changes_nothing(registry, fields, reason, field):
    """Whatever is wrong with a write is named, and the session stays as it was."""
    desk = Desk(registry, limits=SessionLimits(max_sessions=4, max_write_steps=32, max_output_bytes=8000))
    session = desk.create().session_id
    desk.write(session, [14])
    with pytest.raises(InvalidInput) as caught:
        desk.write(session, **fields)
    assert caught.value.reason == reason
    assert [violation.field for violation in caught.value.violations] == [field]
    state = desk.get(session).state
    assert (state.position, state.revision) == (1, 1)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((1, 3), np.nan, dtype=np.float32), "FEATURES_NOT_FINITE"),
        (np.full((1, 3), np.inf, dtype=np.float32), "FEATURES_NOT_FINITE"),
        (np.ones((1, 2), dtype=np.float32), "WRONG_WIDTH"),
        (np.ones((0, 3), dtype=np.float32), "EMPTY_INPUT"),
    ],
)
def test_bad_features_are_refused(desk, values, reason):
    """Features have to be finite, of the model's width, and there."""
    session = desk.create("motion").session_id
    with pytest.raises(InvalidInput) as caught:
        desk.write(session, values)
    assert caught.value.reason == reason


def test_a_regression_ranks_nothing_and_scores_nothing(desk):
    """The best entries and scores of a regression mean nothing, so asking for them is refused."""
    session = desk.create("motion").session_id
    for wanted in ({"k": 1}, {"scores": True}):
        with pytest.raises(InvalidInput) as caught:
            desk.write(session, np.ones((1, 3), dtype=np.float32), **wanted)
        assert caught.value.reason == "WRONG_MODEL_KIND"


def test_the_tape_has_a_greatest_length(registry):
    """A write beyond the tape's limit is refused and applies nothing."""
    desk = Desk(registry, limits=SessionLimits(max_sessions=4, max_tape_steps=5))
    session = desk.create().session_id
    desk.write(session, [14] * 4)
    with pytest.raises(TapeFull):
        desk.write(session, [14, 15])
    assert desk.get(session).state.position == 4
    desk.write(session, [14, 15], at=3)


class PanicException(BaseException):
    """As a library written in Rust tells of a panic."""


def test_a_panic_ends_its_operation_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it comes from: the caller is told, and the engine goes on."""
    codec = desk.registry.get("keyboard").text
    assert codec is not None

    def panic(text: str) -> list[int]:
        raise PanicException("index out of bounds")

    desk.create(session_id="s")
    with monkeypatch.context() as patched:
        patched.setattr(codec, "encode", panic)
        with pytest.raises(RuntimeError, match="a library panicked: index out of bounds"):
            desk.write("s", inputs="how are")
    assert desk.write("s", inputs="how are").state.position == 2


def test_an_interrupt_ends_more_than_its_operation(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is meant to end the process is nobody's answer."""
    codec = desk.registry.get("keyboard").text
    assert codec is not None

    def interrupt(text: str) -> list[int]:
        raise KeyboardInterrupt

    desk.create(session_id="s")
    monkeypatch.setattr(codec, "encode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        desk.write("s", inputs="how are")
