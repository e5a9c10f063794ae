"""The bookkeeping of a multiplexed stream, without any network."""

from __future__ import annotations

import grpc
from gatehouse import failures
from gatehouse.errors import ServerError, UnavailableError
from gatehouse.exchange import Exchange, broken
from gatehouse.v1 import online_pb2
from google.rpc import status_pb2


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
