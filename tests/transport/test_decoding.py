"""Requests that cannot be served are refused with the field, and others arrive as they were sent."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from gatehouse.v1 import online_pb2
from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions.operations import OutputRequest, Suggest, Write
from gatehouse_server.transport.decoding import (
    decode_suggestion,
    decode_timeout,
    decode_write,
)

LIMIT = 100
THREE = np.arange(3, dtype="<f4").tobytes()


def write(**fields: Any) -> online_pb2.SessionWrite:
    """A write that would be fine but for `fields`."""
    whole: dict[str, Any] = {"session_id": "s", "at": 0, **fields}
    return online_pb2.SessionWrite(**{key: value for key, value in whole.items() if value is not None})


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"session_id": None}, "INVALID_INPUT", "session_id"),
        ({"session_id": "a b"}, "INVALID_INPUT", "session_id"),
        ({"session_id": "é"}, "INVALID_INPUT", "session_id"),
        ({"session_id": "x" * 129}, "INVALID_INPUT", "session_id"),
        ({"at": -1}, "POSITION_OUT_OF_RANGE", "at"),
        ({"revision": 0, "incarnation": 1}, "INVALID_INPUT", "revision"),
        ({"revision": -5, "incarnation": 1}, "INVALID_INPUT", "revision"),
        ({"revision": 1}, "INVALID_INPUT", "incarnation"),
        ({"revision": 1, "incarnation": 1, "at": None, "text": "a"}, "INVALID_INPUT", "at"),
        ({"at": None}, "EMPTY_INPUT", "inputs"),
        ({"tokens": {"ids": []}}, "EMPTY_INPUT", "tokens.ids"),
        ({"tokens": {"ids": [1] * 101}}, "INPUT_TOO_LONG", "tokens.ids"),
        ({"text": ""}, "EMPTY_INPUT", "text"),
        ({"text": "x" * 101}, "INPUT_TOO_LONG", "text"),
        ({"text": "é" * 51}, "INPUT_TOO_LONG", "text"),
        ({"features": {"width": 3}}, "EMPTY_INPUT", "features.values"),
        ({"features": {"width": 0, "values": THREE}}, "WRONG_WIDTH", "features.width"),
        ({"features": {"width": -3, "values": THREE}}, "WRONG_WIDTH", "features.width"),
        ({"features": {"width": 3, "values": THREE[:-1]}}, "WRONG_WIDTH", "features.values"),
        ({"outputs": {"k": 0}}, "K_OUT_OF_RANGE", "outputs.k"),
        ({"outputs": {"k": -2}}, "K_OUT_OF_RANGE", "outputs.k"),
        ({"outputs": {"k": 1, "steps": 7}}, "INVALID_INPUT", "outputs.steps"),
    ],
)
def test_a_write_of_bad_form_is_refused_with_the_field(
    fields: dict[str, Any], reason: str, field: str
) -> None:
    """Each refusal has a stable reason, and the path of the field."""
    with pytest.raises(InvalidInput) as caught:
        decode_write(write(**fields), max_text_bytes=LIMIT, max_write_steps=LIMIT)
    assert caught.value.reason == reason
    assert [violation.field for violation in caught.value.violations] == [field]


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"session_id": "a b"}, "INVALID_INPUT", "session_id"),
        ({"k": 0}, "K_OUT_OF_RANGE", "k"),
        ({"k": -1}, "K_OUT_OF_RANGE", "k"),
        ({"model": "m" * 129}, "INVALID_INPUT", "model"),
        ({"text": "x" * 101}, "INPUT_TOO_LONG", "text"),
        ({"exclude": ["a", ""]}, "INVALID_INPUT", "exclude[1]"),
        ({"exclude": ["a"] * 257}, "INPUT_TOO_LONG", "exclude"),
        ({"extra_words": ["x" * 101]}, "INPUT_TOO_LONG", "extra_words"),
    ],
)
def test_a_suggestion_of_bad_form_is_refused_with_the_field(
    fields: dict[str, Any], reason: str, field: str
) -> None:
    """As for writes."""
    with pytest.raises(InvalidInput) as caught:
        decode_suggestion(online_pb2.TextSuggestion(**fields), max_text_bytes=LIMIT)
    assert caught.value.reason == reason
    assert [violation.field for violation in caught.value.violations] == [field]


@pytest.mark.parametrize("timeout", [{"seconds": 0}, {"seconds": -1}, {"nanos": -5}])
def test_a_timeout_has_to_be_positive(timeout: dict[str, int]) -> None:
    """Zero and negative timeouts are refused."""
    with pytest.raises(InvalidInput) as caught:
        decode_timeout(write(timeout=timeout))
    assert caught.value.violations[0].field == "timeout"


def test_tokens_arrive_as_they_were_sent() -> None:
    """Ids become an int64 array; unset fields are absent, not zero."""
    decoded = decode_write(
        write(at=None, tokens={"ids": [3, -1, 2]}), max_text_bytes=LIMIT, max_write_steps=LIMIT
    )
    assert isinstance(decoded.inputs, np.ndarray)
    assert decoded.inputs.dtype == np.int64
    assert decoded.inputs.tolist() == [3, -1, 2]
    assert (decoded.revision, decoded.incarnation, decoded.at) == (None, None, None)
    assert decoded.outputs == OutputRequest()


def test_a_write_far_too_long_is_refused_before_it_is_read() -> None:
    """Its ids are counted, not read: that would take everybody's time, and memory."""
    asked = write(tokens={"ids": range(300_000)})
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput):
            decode_write(asked, max_text_bytes=LIMIT, max_write_steps=4096)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 100_000


def test_features_arrive_as_rows() -> None:
    """Packed bytes become a float32 matrix of the width that the client tells."""
    values = np.array([[1, 2, 3], [4, 5, 6.5]], dtype="<f4")
    decoded = decode_write(
        write(features={"width": 3, "values": values.tobytes()}), max_text_bytes=LIMIT, max_write_steps=LIMIT
    )
    assert isinstance(decoded.inputs, np.ndarray)
    np.testing.assert_array_equal(decoded.inputs, values)


def test_a_write_of_no_steps_moves() -> None:
    """With `at` a write needs no steps; zero is a position, a revision is told with it."""
    decoded = decode_write(
        write(
            at=0,
            revision=4,
            incarnation=2,
            outputs={
                "k": 5,
                "steps": 2,
                "scores": True,
                "vector": True,
                "hidden": True,
                "activations": True,
            },
        ),
        max_text_bytes=LIMIT,
        max_write_steps=LIMIT,
    )
    assert decoded == Write(
        session_id="s",
        incarnation=2,
        revision=4,
        at=0,
        inputs=None,
        outputs=OutputRequest(k=5, every_step=True, scores=True, vector=True, hidden=True, activations=True),
    )


def test_a_suggestion_has_defaults() -> None:
    """Three words; an empty session or model is absent; empty text is a question for first words."""
    decoded = decode_suggestion(online_pb2.TextSuggestion(), max_text_bytes=LIMIT)
    assert decoded == Suggest(session_id=None, model=None, text="", k=3)
