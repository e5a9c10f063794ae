"""What to generate is read from the wire, and what is malformed is refused by field."""

from typing import Any

import numpy as np
import pytest
from gatehouse.v1 import online_pb2
from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions.operations import OpenSequences
from gatehouse_server.sessions.sampling import GREEDY, Sampling
from gatehouse_server.transport.generation_decoding import GenerationLimits, decode_generation

# The stubs do not know that a dictionary can stand for a submessage.
Request: Any = online_pb2.GenerateRequest
LIMITS = GenerationLimits(max_text_bytes=100, max_write_steps=100, max_steps=64, max_alternatives=4)
TWO = np.array([[1, 2, 3], [4, 5, 6]], dtype="<f4")
NAN, INFINITY = float("nan"), float("inf")


def decoded(**fields: Any) -> tuple[OpenSequences, Sampling]:
    """A request with these fields."""
    return decode_generation(Request(**fields), LIMITS)


def test_what_is_left_out_has_its_default() -> None:
    """32 steps of one continuation, the likeliest token each time, and no prompt."""
    operation, sampling = decoded(model="keyboard")
    assert operation == OpenSequences(
        session_id=None,
        model="keyboard",
        prompt=None,
        initial=None,
        stop_ids=(),
        count=1,
        max_steps=32,
    )
    assert sampling == GREEDY
    few = decode_generation(Request(model="keyboard"), GenerationLimits(max_steps=5))[0]
    assert few.max_steps == 5


def test_everything_that_is_given_arrives() -> None:
    """Prompts of each kind, the first state, how to draw, and the write that is to be made."""
    operation, sampling = decoded(
        session_id="s",
        text="how are",
        max_steps=64,
        sampling={"temperature": 0.5, "top_k": 3, "top_p": 0.25, "seed": 2**64 - 1},
        stop_ids=[4, 5],
        advance=True,
        incarnation=7,
        revision=3,
    )
    assert (operation.session_id, operation.model, operation.prompt) == ("s", None, "how are")
    assert (operation.max_steps, operation.stop_ids) == (64, (4, 5))
    assert (operation.advance, operation.incarnation, operation.revision) == (True, 7, 3)
    assert sampling == Sampling(temperature=0.5, top_k=3, top_p=0.25, seed=2**64 - 1)
    operation, sampling = decoded(
        model="m", tokens={"ids": [1, 2]}, initial={"width": 3, "values": TWO[:1].tobytes()}, sampling={}
    )
    assert isinstance(operation.prompt, np.ndarray)
    assert operation.prompt.tolist() == [1, 2]
    assert operation.initial is not None
    assert operation.initial.tolist() == [[1, 2, 3]]
    assert sampling == Sampling()
    operation, _ = decoded(model="m", features={"width": 3, "values": TWO.tobytes()}, alternatives=4)
    assert np.array_equal(operation.prompt, TWO)  # type: ignore[arg-type]
    assert operation.count == 4


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "model"),
        ({"model": "m" * 129}, "model"),
        ({"session_id": "a b"}, "session_id"),
        ({"session_id": "s", "model": "m" * 129}, "model"),
        ({"model": "m", "tokens": {}}, "tokens.ids"),
        ({"model": "m", "tokens": {"ids": [1] * 101}}, "tokens.ids"),
        ({"model": "m", "text": ""}, "text"),
        ({"model": "m", "text": "a" * 101}, "text"),
        ({"model": "m", "features": {"width": 0, "values": b"1234"}}, "features.width"),
        ({"model": "m", "features": {"width": 2, "values": b"1234"}}, "features.values"),
        ({"model": "m", "features": {"width": 2}}, "features.values"),
        ({"model": "m", "initial": {"width": 3, "values": TWO.tobytes()}}, "initial.values"),
        ({"model": "m", "initial": {"width": 3, "values": b"1"}}, "initial.values"),
        ({"session_id": "s", "initial": {"width": 3, "values": TWO[:1].tobytes()}}, "initial"),
        ({"model": "m", "max_steps": 0}, "max_steps"),
        ({"model": "m", "max_steps": -1}, "max_steps"),
        ({"model": "m", "max_steps": 65}, "max_steps"),
        ({"model": "m", "alternatives": 0}, "alternatives"),
        ({"model": "m", "alternatives": 5}, "alternatives"),
        ({"model": "m", "stop_ids": [1] * 257}, "stop_ids"),
        ({"model": "m", "sampling": {"temperature": -0.1}}, "sampling.temperature"),
        ({"model": "m", "sampling": {"temperature": NAN}}, "sampling.temperature"),
        ({"model": "m", "sampling": {"temperature": INFINITY}}, "sampling.temperature"),
        ({"model": "m", "sampling": {"top_k": 0}}, "sampling.top_k"),
        ({"model": "m", "sampling": {"top_k": -4}}, "sampling.top_k"),
        ({"model": "m", "sampling": {"top_p": 0.0}}, "sampling.top_p"),
        ({"model": "m", "sampling": {"top_p": 1.5}}, "sampling.top_p"),
        ({"model": "m", "sampling": {"top_p": NAN}}, "sampling.top_p"),
        ({"model": "m", "advance": True}, "advance"),
        ({"session_id": "s", "advance": True, "alternatives": 2}, "advance"),
        ({"session_id": "s", "revision": 1, "incarnation": 1}, "incarnation"),
        ({"session_id": "s", "advance": True, "revision": 1}, "incarnation"),
        ({"session_id": "s", "advance": True, "incarnation": 1}, "revision"),
        ({"session_id": "s", "advance": True, "incarnation": 1, "revision": 0}, "revision"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_malformed_is_refused_by_field(fields: dict[str, Any], field: str) -> None:
    """One line names the field, and the violation, too."""
    with pytest.raises(InvalidInput) as caught:
        decoded(**fields)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert "\n" not in caught.value.message
