"""Waiting on the event loop for one answer of the engine."""

from __future__ import annotations

import asyncio

from gatehouse_server.engine.loop import Engine
from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import DeadlineExpired
from gatehouse_server.telemetry.call_trace import current_trace


class FutureSink:
    """A sink for one answer. One that nobody waits for any more is counted and forgotten."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.future: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def add(self, tag: int, outcome: object) -> None:
        """Takes the answer."""
        if self.future.done():
            self._observer.happened(Happening.DROPPED_CANCELLED)
        else:
            self.future.set_result(outcome)

    def flush(self) -> None:
        """The answer was already handed on."""


async def ask(
    engine: Engine,
    observer: Observer,
    operation: object,
    *,
    remaining_seconds: float | None,
    client: str = "",
) -> object:
    """Has the engine do one operation and returns its result, or raises what went wrong.

    `remaining_seconds` is how long the operation may wait before it is begun, `client` whose it is. When the
    caller is cancelled, the operation goes on and its answer is dropped.
    """
    now_seconds = engine.clock()
    if remaining_seconds is not None and remaining_seconds <= 0:
        observer.happened(Happening.DROPPED_DEADLINE)
        raise DeadlineExpired
    sink = FutureSink(observer)
    engine.submit(
        Ticket(
            operation=operation,
            sink=sink,
            tag=0,
            received_seconds=now_seconds,
            deadline_seconds=None if remaining_seconds is None else now_seconds + remaining_seconds,
            client=client,
        )
    )
    outcome = await sink.future
    if isinstance(outcome, BaseException):
        try:
            raise outcome
        finally:
            del outcome  # its traceback has this frame, and this frame would have it
    if (trace := current_trace()) is not None:
        trace.answered(outcome, now_seconds)
    return outcome


def shortest(*seconds: float | None) -> float | None:
    """The least of the limits that are set."""
    limits = [limit for limit in seconds if limit is not None]
    return min(limits) if limits else None
