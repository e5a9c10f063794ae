"""Making, forking, exporting, importing and deleting sessions: each happens once, however often it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from gatehouse import errors

from tests.client.fake_server import FakeServer
from tests.client.fake_status import refusal

MAKERS: dict[str, Callable[..., Any]] = {
    "session": lambda client, **options: client.session("keyboard", **options),
    "fork": lambda client, **options: client.fork("source", **options),
    "import": lambda client, **options: client.import_session(b'["keyboard@1", 3, [2, 3]]', **options),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@pytest.fixture(autouse=True)
def source(client: Any) -> Any:
    """A session with three words."""
    source = client.session("keyboard", session_id="source")
    source.append(text="how are you")
    return source


def test_a_fork_goes_its_own_way(client: Any, source: Any) -> None:
    """It begins where its source stands, under an id of its own, and neither sees the other's writes."""
    fork = client.fork("source", session_id="copy")
    assert (fork.id, fork.model, fork.position, fork.revision) == ("copy", "keyboard@1", 3, 1)
    assert fork.append(text="doing", k=1).best == source.append(text="doing", k=1).best
    fork.append(text="today")
    assert (fork.position, source.position) == (5, 4)


def test_a_fork_begins_at_the_position_that_is_asked_for(client: Any) -> None:
    """Zero is one, too, and not the same as none."""
    assert client.fork("source", at=2).position == 2
    assert client.fork("source", at=0).position == 0
    assert client.fork("source").position == 3


def test_an_export_comes_back_as_a_session(client: Any, source: Any) -> None:
    """The import goes on where the source stood; the source lives on."""
    blob = client.export_session("source")
    assert isinstance(blob, bytes)
    source.append(text="doing")
    imported = client.import_session(blob, session_id="moved")
    assert (imported.id, imported.position, imported.revision) == ("moved", 3, 1)
    assert imported.append(text="doing").position == 4


def test_an_export_larger_than_grpcs_own_limit_arrives(client: Any, server: FakeServer) -> None:
    """A million tokens take more than the 4 MiB that gRPC receives by default; ten megabytes go both ways."""
    server.online.export_padding_bytes = 10_000_000
    blob = client.export_session("source")
    assert len(blob) > 10_000_000
    assert client.import_session(blob).position == 3


def test_a_blob_that_fits_into_no_message_is_told_apart(client: Any) -> None:
    """It is not sent again and again."""
    with pytest.raises(errors.MessageTooLargeError):
        client.import_session(bytes(17_000_000))


@makers
def test_a_session_whose_answer_got_lost_is_made_once(
    client: Any, server: FakeServer, make: Callable[..., Any]
) -> None:
    """The call is repeated under one request id, which the server knows."""
    before = set(server.online.sessions)
    server.online.request_ids.clear()
    server.online.session_replies_to_lose = 2
    session = make(client)
    assert set(server.online.sessions) - before == {session.id}
    assert len(server.online.request_ids) == 3
    assert len(set(server.online.request_ids)) == 1
    assert len(server.online.request_ids[0]) == 32


@makers
def test_two_calls_make_two_sessions(client: Any, make: Callable[..., Any]) -> None:
    """Each has a request id of its own."""
    assert make(client).id != make(client).id


@makers
def test_a_session_is_not_made_when_no_answer_comes_in_time(
    client: Any, server: FakeServer, make: Callable[..., Any]
) -> None:
    """The last failure is raised by the call's deadline."""
    before = set(server.online.sessions)
    server.online.calls_to_refuse = [refusal(grpc.StatusCode.UNAVAILABLE, "gone") for _ in range(1000)]
    with pytest.raises((errors.UnavailableError, errors.DeadlineExceededError)):
        make(client, timeout_seconds=0.3)
    assert set(server.online.sessions) == before


def test_a_delete_whose_answer_got_lost_is_answered(client: Any, server: FakeServer) -> None:
    """The repeat carries the request id of the first call, so that it succeeds as that one did."""
    server.online.request_ids.clear()
    server.online.session_replies_to_lose = 2
    client.delete_session("source")
    assert "source" not in server.online.sessions
    assert len(server.online.request_ids) == 3
    assert len(set(server.online.request_ids)) == 1


def test_a_session_deletes_itself_likewise(source: Any, server: FakeServer) -> None:
    """`Session.delete` is the same call."""
    server.online.session_replies_to_lose = 2
    source.delete()
    assert "source" not in server.online.sessions


def test_a_server_that_tells_how_long_to_wait_is_obeyed(client: Any, server: FakeServer) -> None:
    """When that is longer than there is time, the failure is raised at once instead of knocking on."""
    before = server.calls["OnlineService.ForkSession"]
    server.online.calls_to_refuse = [
        refusal(grpc.StatusCode.ABORTED, "moved", reason="SESSION_MOVED", retry_after_seconds=60.0)
        for _ in range(10)
    ]
    with pytest.raises(errors.UnavailableError) as caught:
        client.fork("source")
    assert caught.value.reason == "SESSION_MOVED"
    assert server.calls["OnlineService.ForkSession"] == before + 1


@pytest.mark.parametrize(
    "call",
    [
        *MAKERS.values(),
        lambda client: client.attach("source"),
        lambda client: client.export_session("source"),
        lambda client: client.delete_session("source"),
    ],
    ids=[*MAKERS, "attach", "export", "delete"],
)
def test_a_session_that_moved_is_asked_for_again(
    client: Any, server: FakeServer, call: Callable[[Any], object]
) -> None:
    """Another replica has taken it over for a moment, of which gRPC's own repeating knows nothing: nobody sees it."""
    server.online.calls_to_refuse = [
        refusal(grpc.StatusCode.ABORTED, "moved", reason="SESSION_MOVED") for _ in range(2)
    ]
    call(client)
    assert server.online.calls_to_refuse == []


@pytest.mark.parametrize(
    ("call", "kind", "reason"),
    [
        (lambda client: client.fork("nobody"), errors.SessionUnknownError, "SESSION_UNKNOWN"),
        (lambda client: client.export_session("nobody"), errors.SessionUnknownError, "SESSION_UNKNOWN"),
        (
            lambda client: client.fork("source", session_id="source"),
            errors.SessionExistsError,
            "SESSION_EXISTS",
        ),
        (
            lambda client: client.import_session(client.export_session("source"), session_id="source"),
            errors.SessionExistsError,
            "SESSION_EXISTS",
        ),
        (
            lambda client: client.import_session(b"garbage"),
            errors.InvalidInputError,
            "EXPORT_MALFORMED",
        ),
    ],
    ids=["fork of none", "export of none", "fork onto another", "import onto another", "garbage"],
)
def test_a_refusal_is_one_exception_and_not_repeated(
    client: Any, server: FakeServer, call: Callable[[Any], object], kind: type[Exception], reason: str
) -> None:
    """Only what may be different next time is asked again."""
    with pytest.raises(kind) as caught:
        call(client)
    assert getattr(caught.value, "reason") == reason  # noqa: B009  # `kind` is any of our exceptions
    assert max(server.calls.values()) == 1
