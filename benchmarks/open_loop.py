"""Open loop: steps are wanted at random moments, whether or not the answers to earlier ones have come.

Arrivals are a Poisson process, each for a random session. A step's latency runs from the moment at which it was wanted:
one that had to wait in the client, because too many of its session had no answer yet, waited all the same.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gatehouse.v1 import online_pb2

from benchmarks.walkers import MOST_UNANSWERED, Stub, Walker, Window, check, checked


class User(Protocol):
    """Sends steps for some sessions."""

    def want(self, walker: Walker, due: float) -> None:
        """A step of a session is wanted since `due`."""

    async def run(self) -> None:
        """Sends and reads until `leave`; raises when a step fails."""

    def leave(self) -> None:
        """Nothing will be wanted any more: ends when everything is answered."""


class StreamUser:
    """Sessions on one stream. What is wanted while a message is being written goes into the next one."""

    def __init__(self, stub: Stub, walkers: Sequence[Walker], window: Window) -> None:
        self._call = stub.Stream()
        self._by_tag = {walker.tag: walker for walker in walkers}
        self._window = window
        self._outgoing: list[Walker] = []
        self._wake = asyncio.Event()
        self._unanswered = 0
        self._left = False

    def want(self, walker: Walker, due: float) -> None:
        """See `User`."""
        self._unanswered += 1
        if walker.waiting or len(walker.since) >= MOST_UNANSWERED:
            walker.waiting.append(due)
        else:
            self._send(walker, due)

    def leave(self) -> None:
        """See `User`."""
        self._left = True
        self._wake.set()

    async def run(self) -> None:
        """See `User`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write())
            tasks.create_task(self._read())

    async def _write(self) -> None:
        while not self._left or self._unanswered:
            await self._wake.wait()
            self._wake.clear()
            if self._outgoing:
                wanted, self._outgoing = self._outgoing, []
                request = online_pb2.StreamRequest()
                for walker in wanted:
                    request.operations.append(walker.next_operation())  # a copy: a walker may be here twice
                await self._call.write(request)
        await self._call.done_writing()

    async def _read(self) -> None:
        while isinstance(response := await self._call.read(), online_pb2.StreamResponse):
            now = time.monotonic()
            for result in checked(response).results:
                walker = self._by_tag[result.tag]
                due = walker.since.popleft()
                self._window.count(due, due, now)
                if walker.waiting:
                    self._send(walker, walker.waiting.popleft())
            self._unanswered -= len(response.results)
            if self._left and not self._unanswered:
                self._wake.set()
        if self._unanswered:
            raise RuntimeError(f"the stream ended: {await self._call.details()}")

    def _send(self, walker: Walker, due: float) -> None:
        walker.since.append(due)
        self._outgoing.append(walker)
        self._wake.set()


class CallUser:
    """A session without a stream: a call for each step, one after the other."""

    def __init__(self, stub: Stub, walker: Walker, window: Window) -> None:
        self._stub = stub
        self._walker = walker
        self._window = window
        self._wake = asyncio.Event()
        self._left = False

    def want(self, walker: Walker, due: float) -> None:
        """See `User`."""
        walker.waiting.append(due)
        self._wake.set()

    def leave(self) -> None:
        """See `User`."""
        self._left = True
        self._wake.set()

    async def run(self) -> None:
        """See `User`."""
        waiting = self._walker.waiting
        while not self._left or waiting:
            await self._wake.wait()
            self._wake.clear()
            while waiting:
                due = waiting.popleft()
                response = await self._stub.Write(online_pb2.WriteRequest(write=self._walker.next_write()))
                check(response.result)
                self._window.count(due, due, time.monotonic())


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """When steps were wanted, and how much later the client got to them."""

    count: int
    late_seconds: list[float]


async def arrive(
    users: Mapping[Walker, User], per_second: float, window: Window, generator: random.Random
) -> Arrivals:
    """Wants steps from now until the end of the window; raises nothing of what becomes of them."""
    walkers = list(users)
    due = time.monotonic()
    late: list[float] = []
    while True:
        due += generator.expovariate(per_second)
        if due >= window.end:
            return Arrivals(count=len(late), late_seconds=late)
        now = time.monotonic()
        if due > now:
            await asyncio.sleep(due - now)
            now = time.monotonic()
        elif len(late) % 64 == 0:
            await asyncio.sleep(0)  # what is overdue must not keep answers from being read
        late.append(now - due)
        walker = generator.choice(walkers)
        users[walker].want(walker, due)
