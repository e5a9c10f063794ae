"""Unary calls, and trying again until a deadline (the twin of `gatehouse.aio.calls`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import grpc

from gatehouse import failures, requests
from gatehouse.errors import (
    ClientClosedError,
    DeadlineExceededError,
    GatehouseError,
    SessionDeletedError,
    UnavailableError,
)
from gatehouse.exchange import StreamClosedError
from gatehouse.patience import Deadline, pauses
from gatehouse.trace_context import trace_context
from gatehouse.v1 import online_pb2_grpc

Request = TypeVar("Request")
Response = TypeVar("Response")
Streamed = TypeVar("Streamed", covariant=True)

CLOSED = (ValueError, StreamClosedError)
"""What a call raises, and sends nothing, when the client (in gRPC's words) or its stream was closed before."""


class ResponseStream(Protocol[Streamed]):
    """The responses of a streaming call under way."""

    def __iter__(self) -> Iterator[Streamed]: ...
    def cancel(self) -> object: ...


def call(
    method: grpc.UnaryUnaryMultiCallable[Request, Response], request: Request, timeout_seconds: float
) -> Response:
    """One call; its failure is raised as a GatehouseError."""
    try:
        return method(request, timeout=timeout_seconds, metadata=trace_context())
    except grpc.RpcError as error:
        raise failures.from_rpc_error(error) from error


def insist(attempt: Callable[[float], Response], timeout_seconds: float) -> Response:
    """Makes an attempt (it gets its share of the time, in seconds) again until it is answered or time is up.

    Only for what may be done twice without harm. A server that tells how long to wait is obeyed. When time is up, the
    error is what kept the server from answering, if any attempt was told; that the last one was short is no news.
    """
    deadline = Deadline(timeout_seconds)
    unavailable: UnavailableError | None = None
    for attempts_before, wanted_seconds in enumerate(pauses()):
        try:
            return attempt(deadline.attempt_seconds())
        except ClientClosedError:
            raise
        except (UnavailableError, DeadlineExceededError) as error:
            pause_seconds = deadline.pause_seconds(
                wanted_seconds, told_seconds=error.retry_after_seconds or 0.0
            )
            if isinstance(error, UnavailableError):
                unavailable = error
            if pause_seconds is None:
                if unavailable is not None:
                    raise unavailable from unavailable.__cause__
                raise
        except CLOSED as error:
            if isinstance(error, GatehouseError) or not attempts_before:
                raise
            raise failures.client_closed() from error
        time.sleep(pause_seconds)
    raise AssertionError("pauses never end")


def delete_session(stub: online_pb2_grpc.OnlineServiceStub, session_id: str, timeout_seconds: float) -> None:
    """Ends a session, however often that has to be asked. That it was deleted before is fine."""
    request = requests.delete_session(session_id)
    try:
        insist(lambda seconds: call(stub.DeleteSession, request, seconds), timeout_seconds)
    except SessionDeletedError:
        return
