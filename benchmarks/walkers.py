"""Sessions that take random steps, each under its revision, and the window in which what they do counts."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import grpc
from gatehouse.v1 import online_pb2, online_pb2_grpc

K = 5
VOCABULARY = 10_000
MOST_UNANSWERED = 8
"""Writes of a session that may be under way: the server's default of `--recent-writes`."""

Stub: TypeAlias = "online_pb2_grpc.OnlineServiceAsyncStub"

_CALLS_AT_ONCE = 64
_TOKENS = [random.randrange(VOCABULARY) for _ in range(4096)]


@dataclass(slots=True, kw_only=True)
class Window:
    """From when to when (seconds of the monotonic clock) steps count, and what they took."""

    begin: float
    end: float
    latencies: list[float] = field(default_factory=list)

    def count(self, moment: float, since: float, now: float) -> None:
        """A step that took from `since` to `now` counts if `moment` is in the window."""
        if self.begin <= moment < self.end:
            self.latencies.append(now - since)


class Walker:
    """A session: its next write, since when its writes without an answer are wanted, and those not sent yet."""

    __slots__ = ("_operation", "_revision", "_write", "since", "tag", "waiting")

    def __init__(self, tag: int, session_id: str = "none", incarnation: int = 0) -> None:
        self._operation = online_pb2.StreamOperation(
            tag=tag,
            write=online_pb2.SessionWrite(
                session_id=session_id,
                incarnation=incarnation,
                tokens=online_pb2.TokenSequence(ids=[0]),
                outputs=online_pb2.OutputOptions(k=K),
            ),
        )
        self._write = self._operation.write
        self.tag = tag
        self._revision = 0
        self.since: deque[float] = deque()
        self.waiting: deque[float] = deque()

    @property
    def session_id(self) -> str:
        """The session's."""
        return self._write.session_id

    def next_operation(self) -> online_pb2.StreamOperation:
        """The next step; the object is the same each time, to be copied into a message before the next call."""
        self._write.at = self._revision
        self._revision += 1
        self._write.revision = self._revision
        self._write.tokens.ids[0] = _TOKENS[self._revision % len(_TOKENS)]
        return self._operation

    def next_write(self) -> online_pb2.SessionWrite:
        """The same for a call without a stream."""
        return self.next_operation().write


async def make_walkers(stub: Stub, model: str | None, count: int, *, share_stream: bool) -> list[Walker]:
    """New sessions; without a model, ones that the server need not know. Those that share a stream are numbered."""
    tags = [number if share_stream else 0 for number in range(count)]
    if model is None:
        return [Walker(tag) for tag in tags]
    asked = online_pb2.CreateSessionRequest(model=model)
    made = [each.session for each in await _all([partial(stub.CreateSession, asked)] * count)]
    return [
        Walker(tag, session.session_id, session.state.incarnation)
        for tag, session in zip(tags, made, strict=True)
    ]


async def end_walkers(stub: Stub, walkers: list[Walker]) -> None:
    """Ends the sessions."""
    requests = [online_pb2.DeleteSessionRequest(session_id=walker.session_id) for walker in walkers]
    await _all([partial(stub.DeleteSession, request) for request in requests])


async def _all(calls: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """What all of them answered, some at a time."""
    answers: list[Any] = []
    for first in range(0, len(calls), _CALLS_AT_ONCE):
        answers += await asyncio.gather(*(call() for call in calls[first : first + _CALLS_AT_ONCE]))
    return answers


def check(result: online_pb2.WriteResult) -> None:
    """Raises RuntimeError unless the answer has what was asked for."""
    if len(result.steps) != 1 or len(result.steps[0].best_ids) != K:
        raise RuntimeError(f"a write was answered with {result}")


Call: TypeAlias = grpc.aio.StreamStreamCall[online_pb2.StreamRequest, online_pb2.StreamResponse]


async def answers_of(call: Call) -> online_pb2.StreamResponse:
    """The next message. Raises RuntimeError when there is none, or when a write in it failed."""
    response = await call.read()
    if not isinstance(response, online_pb2.StreamResponse):
        raise RuntimeError(f"the stream ended: {await call.details()}")
    return checked(response)


def checked(response: online_pb2.StreamResponse) -> online_pb2.StreamResponse:
    """The message. Raises RuntimeError when a write in it failed."""
    for result in response.results:
        if result.status.code:
            raise RuntimeError(f"a write failed: {result.status.message}")
        check(result.write)
    return response
