"""The bookkeeping of a multiplexed stream, without any network."""

from __future__ import annotations

from types import SimpleNamespace

import grpc
import pytest
from gatehouse import failures
from gatehouse.errors import ServerError, UnavailableError
from gatehouse.exchange import Exchange, broken
from gatehouse.v1 import online_pb2
from google.rpc import status_pb2


class _Clock:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 100.0
        monkeypatch.setattr("gatehouse.exchange.time", SimpleNamespace(monotonic=lambda: self.seconds))


def _write(size: int = 1) -> online_pb2.SessionWrite:
    return online_pb2.SessionWrite(session_id="s", text="x" * size)


def test_what_waits_goes_out_together_in_order() -> None:
    """Operations submitted before the next message are all in it, in order, each with its tag."""
    exchange: Exchange[str] = Exchange()
    tags = [exchange.submit(_write(), 1.5, f"waiter {number}") for number in range(3)]
    request = exchange.next_request()
    assert [operation.tag for operation in request.operations] == tags
    assert request.operations[0].write.timeout.ToTimedelta().total_seconds() == 1.5
    assert not exchange.has_waiting()


def test_a_message_has_a_size() -> None:
    """Operations of half a megabyte go out one by one, and none is left behind."""
    exchange: Exchange[str] = Exchange()
    for _ in range(3):
        exchange.submit(_write(500_000), 1, "waiter")
    sizes = []
    while exchange.has_waiting():
        sizes.append(len(exchange.next_request().operations))
    assert sizes == [1, 1, 1]


def test_an_answer_is_claimed_once() -> None:
    """The first answer with a tag finds who waits for it, a second one nobody."""
    exchange: Exchange[str] = Exchange()
    tag = exchange.submit(_write(), 1, "waiter")
    exchange.next_request()
    assert exchange.claim(tag) == "waiter"
    assert exchange.claim(tag) is None


def test_what_is_forgotten_is_not_sent() -> None:
    """An operation whose caller left before it was sent is not sent at all."""
    exchange: Exchange[str] = Exchange()
    exchange.forget(exchange.submit(_write(), 1, "waiter"))
    assert not exchange.has_waiting()


def test_a_break_reaches_everybody_who_waits() -> None:
    """Sent or not, whoever waits is told when the stream breaks, and nothing of it is sent later."""
    exchange: Exchange[str] = Exchange()
    exchange.submit(_write(), 1, "sent")
    exchange.next_request()
    exchange.submit(_write(), 1, "waiting")
    assert exchange.abandon() == ["sent", "waiting"]
    assert not exchange.has_waiting()


def test_a_break_is_unavailable_unless_it_lasts() -> None:
    """However a stream ends, its operations are repeated; but a server without the call never answers."""
    for code in (grpc.StatusCode.OK, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE):
        error = failures.from_status(broken(status_pb2.Status(code=code.value[0])).status)
        assert isinstance(error, UnavailableError)
    lasting = broken(status_pb2.Status(code=grpc.StatusCode.UNIMPLEMENTED.value[0]))
    assert isinstance(failures.from_status(lasting.status), ServerError)


def test_a_line_is_silent_when_nothing_came_while_somebody_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer to anybody ends a silence, even to one who has left; when nothing is owed there is none."""
    clock = _Clock(monkeypatch)
    exchange: Exchange[str] = Exchange()
    assert not exchange.is_silent(5)
    left = exchange.submit(_write(), 1, "left")
    exchange.forget(left)
    clock.seconds += 3
    exchange.submit(_write(), 10, "waiting")
    clock.seconds += 2
    assert exchange.is_silent(5)
    assert exchange.claim(left) is None
    assert not exchange.is_silent(2)
    clock.seconds += 4
    assert not exchange.is_silent(5)
    clock.seconds += 1
    assert exchange.is_silent(5)
    exchange.abandon(silent=True)
    assert not exchange.is_silent(5)


def test_a_pause_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has hardly any time gives no line up for it; but it adds up while nothing comes."""
    clock = _Clock(monkeypatch)
    exchange: Exchange[str] = Exchange()
    exchange.forget(exchange.submit(_write(), 0.2, "first"))
    clock.seconds += 0.2
    assert not exchange.is_silent(0.2)
    exchange.submit(_write(), 0.2, "second")
    clock.seconds += 30
    assert exchange.is_silent(0.2)


def test_after_a_silence_the_next_line_has_the_time_it_needs() -> None:
    """A line is looked at after some seconds; the one in its place, until something came, when time is up."""
    exchange: Exchange[str] = Exchange()
    assert (exchange.patience_seconds(30), exchange.patience_seconds(2)) == (5, 2)
    exchange.abandon(silent=True)
    assert exchange.patience_seconds(30) == 30
    exchange.claim(exchange.submit(_write(), 1, "waiter"))
    assert exchange.patience_seconds(30) == 5
    exchange.abandon(silent=True)
    exchange.abandon()  # this one broke
    assert exchange.patience_seconds(30) == 5
