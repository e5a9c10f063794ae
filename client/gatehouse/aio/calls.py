"""Unary calls, and trying again until a deadline (the twin of `gatehouse.calls`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from grpc import aio

from gatehouse import failures, requests
from gatehouse.aio.waiting import grpc_failures
from gatehouse.errors import ClientClosedError, DeadlineExceededError, SessionDeletedError, UnavailableError
from gatehouse.exchange import StreamClosedError
from gatehouse.patience import Deadline, pauses
from gatehouse.trace_context import trace_context
from gatehouse.v1 import online_pb2_grpc

Request = TypeVar("Request")
Response = TypeVar("Response")

CLOSED = (aio.UsageError, StreamClosedError)
"""What a call raises, and sends nothing, when the client (in gRPC's words) or its stream was closed before."""


async def call(
    method: aio.UnaryUnaryMultiCallable[Request, Response], request: Request, timeout_seconds: float
) -> Response:
    """One call; its failure is raised as a GatehouseError."""
    with grpc_failures():
        return await method(request, timeout=timeout_seconds, metadata=trace_context())


async def insist(attempt: Callable[[float], Awaitable[Response]], timeout_seconds: float) -> Response:
    """Makes an attempt (it gets its share of the time, in seconds) again until it is answered or time is up.

    Only for what may be done twice without harm. A server that tells how long to wait is obeyed. When time is up, the
    error is what kept the server from answering, if any attempt was told; that the last one was short is no news.
    """
    deadline = Deadline(timeout_seconds)
    unavailable: UnavailableError | None = None
    for attempts_before, wanted_seconds in enumerate(pauses()):
        try:
            return await attempt(deadline.attempt_seconds())
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
            if not attempts_before:
                raise
            raise failures.client_closed() from error
        await asyncio.sleep(pause_seconds)
    raise AssertionError("pauses never end")


async def delete_session(
    stub: online_pb2_grpc.OnlineServiceAsyncStub, session_id: str, timeout_seconds: float
) -> None:
    """Ends a session, however often that has to be asked. That it was deleted before is fine."""
    request = requests.delete_session(session_id)
    try:
        await insist(lambda seconds: call(stub.DeleteSession, request, seconds), timeout_seconds)
    except SessionDeletedError:
        return
