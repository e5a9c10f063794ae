"""Requests about whole sessions: bad ones are refused with the field, and others arrive as they were sent."""

from collections.abc import Callable
from typing import Any

import pytest
from gatehouse.v1 import admin_pb2, online_pb2
from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions.operations import CreateSession, DeleteSession, ForkSession, ImportSession
from gatehouse_server.transport.session_decoding import (
    decode_creation,
    decode_deletion,
    decode_eviction,
    decode_export,
    decode_fork,
    decode_get,
    decode_import,
    decode_inspection,
)

ODD_IDS = {
    "empty": "",
    "too long": "x" * 129,
    "a megabyte": "x" * 1_000_000,
    "space": "a b",
    "line end": "a\n",
    "null": "a\0b",
    "escape": "\x1b[31m",
    "delete": "a\x7f",
    "accent": "é",
    "combining accent": "e\u0301",
    "other digits": "١٢٣",
    "right to left": "a\u202eb",
    "no width": "a\u200bb",
    "full width": "ａ",
    "emoji": "👩‍👩‍👧",
    "line separator": "a\u2028b",
    "noncharacter": "\uffff",
}
odd_ids = pytest.mark.parametrize("session_id", ODD_IDS.values(), ids=ODD_IDS)


def refused(decode: Callable[[Any], object], request: object) -> InvalidInput:
    """How a request is refused; what it quotes of the input is short and printable."""
    with pytest.raises(InvalidInput) as caught:
        decode(request)
    assert len(caught.value.message) < 300
    assert caught.value.message.isascii() or caught.value.message.isprintable()
    return caught.value


@odd_ids
@pytest.mark.parametrize(
    ("decode", "request_of"),
    [
        (decode_get, online_pb2.GetSessionRequest),
        (decode_fork, online_pb2.ForkSessionRequest),
        (decode_export, online_pb2.ExportSessionRequest),
        (decode_deletion, online_pb2.DeleteSessionRequest),
        (decode_inspection, admin_pb2.InspectSessionRequest),
        (decode_eviction, admin_pb2.EvictSessionRequest),
    ],
    ids=["get", "fork", "export", "delete", "inspect", "evict"],
)
def test_an_odd_identifier_is_refused_by_every_call(
    decode: Callable[[Any], object], request_of: Callable[..., object], session_id: str
) -> None:
    """Nothing but 1 to 128 printable ASCII characters without spaces names a session."""
    error = refused(decode, request_of(session_id=session_id))
    assert (error.reason, error.violations[0].field) == ("INVALID_INPUT", "session_id")


@odd_ids
@pytest.mark.parametrize(
    ("decode", "request_of", "field"),
    [
        (
            decode_creation,
            lambda new: online_pb2.CreateSessionRequest(model="m", session_id=new),
            "session_id",
        ),
        (
            decode_fork,
            lambda new: online_pb2.ForkSessionRequest(session_id="s", new_session_id=new),
            "new_session_id",
        ),
        (decode_import, lambda new: online_pb2.ImportSessionRequest(blob=b"b", session_id=new), "session_id"),
    ],
    ids=["create", "fork", "import"],
)
def test_an_odd_identifier_is_given_to_no_session(
    decode: Callable[[Any], Any], request_of: Callable[[str], object], field: str, session_id: str
) -> None:
    """The same rule for the sessions that are made; only an empty one leaves the choice to the server."""
    if session_id:
        assert refused(decode, request_of(session_id)).violations[0].field == field
    else:
        decoded = decode(request_of(session_id))
        assert (decoded.new_session_id if field == "new_session_id" else decoded.session_id) is None


@pytest.mark.parametrize(
    ("decode", "request_of"),
    [
        (decode_creation, lambda key: online_pb2.CreateSessionRequest(model="m", request_id=key)),
        (decode_fork, lambda key: online_pb2.ForkSessionRequest(session_id="s", request_id=key)),
        (decode_import, lambda key: online_pb2.ImportSessionRequest(blob=b"b", request_id=key)),
        (decode_deletion, lambda key: online_pb2.DeleteSessionRequest(session_id="s", request_id=key)),
    ],
    ids=["create", "fork", "import", "delete"],
)
def test_a_request_id_has_at_most_128_characters(
    decode: Callable[[Any], Any], request_of: Callable[[str], object]
) -> None:
    """A longer one is refused; an empty one is absent."""
    assert refused(decode, request_of("x" * 129)).violations[0].field == "request_id"
    assert decode(request_of("x" * 128)).request_id == "x" * 128
    assert decode(request_of("")).request_id is None


def test_a_fork_at_a_negative_position_is_refused() -> None:
    """Zero is a position, absence is the end, and what is below zero is neither."""
    error = refused(decode_fork, online_pb2.ForkSessionRequest(session_id="s", at=-1))
    assert (error.reason, error.violations[0].field) == ("POSITION_OUT_OF_RANGE", "at")
    assert decode_fork(online_pb2.ForkSessionRequest(session_id="s", at=0)).at == 0
    assert decode_fork(online_pb2.ForkSessionRequest(session_id="s")).at is None


def test_an_import_of_nothing_is_refused() -> None:
    """No bytes are no export."""
    error = refused(decode_import, online_pb2.ImportSessionRequest(session_id="s"))
    assert (error.reason, error.violations[0].field) == ("EXPORT_MALFORMED", "blob")


def test_a_session_needs_a_model() -> None:
    """CreateSession without a model is refused."""
    assert refused(decode_creation, online_pb2.CreateSessionRequest()).violations[0].field == "model"


def test_requests_arrive_as_they_were_sent() -> None:
    """Every field is taken over."""
    assert decode_creation(
        online_pb2.CreateSessionRequest(model="m@2", session_id="new", request_id="r")
    ) == CreateSession(model="m@2", session_id="new", request_id="r")
    assert decode_fork(
        online_pb2.ForkSessionRequest(session_id="old", new_session_id="new", at=7, request_id="r")
    ) == ForkSession(session_id="old", new_session_id="new", at=7, request_id="r")
    assert decode_import(
        online_pb2.ImportSessionRequest(blob=b"\0\xff", session_id="new", request_id="r")
    ) == ImportSession(blob=b"\0\xff", session_id="new", request_id="r")
    assert decode_deletion(
        online_pb2.DeleteSessionRequest(session_id="old", request_id="r")
    ) == DeleteSession(session_id="old", request_id="r")
