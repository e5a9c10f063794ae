"""Load on the online service, as a client process makes it: steps of many sessions, or one client that floods."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any, Literal

import grpc
from gatehouse.v1 import online_pb2, online_pb2_grpc

from benchmarks.closed_loop import walk_calls, walk_stream
from benchmarks.open_loop import CallUser, StreamUser, User, arrive
from benchmarks.walkers import VOCABULARY, Stub, Walker, Window, end_walkers, make_walkers

Regime = Literal["streams", "multiplexed", "unary"]

_FLOOD_MESSAGE_SESSIONS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Steps of so many sessions, asking the five best next tokens each.

    Without a model the server is one that needs no sessions. With `per_second` the loop is open.
    """

    regime: Regime
    sessions: int
    model: str | None = None
    per_second: float | None = None


class OnlineLoad:
    """Sessions made beforehand, and what they did."""

    def __init__(self, asked: Steps, target: str) -> None:
        self._asked = asked
        self._channel = grpc.aio.insecure_channel(target)
        self._stub: Stub = online_pb2_grpc.OnlineServiceStub(self._channel)
        self._walkers: list[Walker] = []

    async def prepare(self) -> None:
        """Makes the sessions."""
        asked = self._asked
        self._walkers = await make_walkers(
            self._stub, asked.model, asked.sessions, share_stream=asked.regime == "multiplexed"
        )

    async def run(self, begin: float, end: float) -> dict[str, Any]:
        """Steps from now until `end`; those after `begin` are told of."""
        window = Window(begin=begin, end=end)
        told: dict[str, Any] = {}
        if self._asked.per_second is None:
            await asyncio.gather(*self._closed(window))
        else:
            told = await self._open(window, self._asked.per_second)
        return {"latency_us": [round(1e6 * each) for each in window.latencies], **told}

    async def leave(self) -> None:
        """Ends the sessions."""
        if self._asked.model is not None:
            await end_walkers(self._stub, self._walkers)
        await self._channel.close()

    def _closed(self, window: Window) -> list[Any]:
        if self._asked.regime == "multiplexed":
            return [walk_stream(self._stub, self._walkers, window)]
        if self._asked.regime == "streams":
            return [walk_stream(self._stub, [walker], window) for walker in self._walkers]
        return [walk_calls(self._stub, walker, window) for walker in self._walkers]

    async def _open(self, window: Window, per_second: float) -> dict[str, Any]:
        users: dict[Walker, User]
        if self._asked.regime == "multiplexed":
            user = StreamUser(self._stub, self._walkers, window)
            users = dict.fromkeys(self._walkers, user)
        elif self._asked.regime == "streams":
            users = {walker: StreamUser(self._stub, [walker], window) for walker in self._walkers}
        else:
            users = {walker: CallUser(self._stub, walker, window) for walker in self._walkers}
        async with asyncio.TaskGroup() as tasks:
            for each in set(users.values()):
                tasks.create_task(each.run())
            arrivals = await arrive(users, per_second, window, random.Random())
            for each in set(users.values()):
                each.leave()
        return {"late_us": [round(1e6 * each) for each in arrivals.late_seconds]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """One client whose sessions each write so many steps again and again, on one stream, asking nothing back."""

    model: str
    sessions: int
    write_steps: int


class FloodLoad:
    """The flooding client. Its sessions are left to the server: each has more to do than one waits for."""

    def __init__(self, asked: Flood, target: str) -> None:
        self._asked = asked
        self._channel = grpc.aio.insecure_channel(target)
        self._walkers: list[Walker] = []
        self._stub: Stub = online_pb2_grpc.OnlineServiceStub(self._channel)

    async def prepare(self) -> None:
        """Makes the sessions."""
        self._walkers = await make_walkers(
            self._stub, self._asked.model, self._asked.sessions, share_stream=True
        )

    async def run(self, begin: float, end: float) -> dict[str, Any]:
        """Floods from now until `end`."""
        tokens = [random.randrange(VOCABULARY) for _ in range(self._asked.write_steps)]
        call = self._stub.Stream()
        writes = 0

        async def send(walkers: list[Walker]) -> None:
            for first in range(0, len(walkers), _FLOOD_MESSAGE_SESSIONS):
                part = walkers[first : first + _FLOOD_MESSAGE_SESSIONS]
                operations = [
                    online_pb2.StreamOperation(
                        tag=walker.tag,
                        write=online_pb2.SessionWrite(
                            session_id=walker.session_id, tokens=online_pb2.TokenSequence(ids=tokens)
                        ),
                    )
                    for walker in part
                ]
                await call.write(online_pb2.StreamRequest(operations=operations))

        async def flood() -> None:
            nonlocal writes
            await send(self._walkers)
            while isinstance(response := await call.read(), online_pb2.StreamResponse):
                failed = next((result.status for result in response.results if result.status.code), None)
                if failed is not None:
                    raise RuntimeError(f"a write failed: {failed.message}")
                writes += len(response.results)
                await send([self._walkers[result.tag] for result in response.results])

        flooding = asyncio.create_task(flood())
        await asyncio.wait([flooding], timeout=max(0.0, end - time.monotonic()))
        if flooding.done():
            flooding.result()
            raise RuntimeError("the flood ended by itself")
        flooding.cancel()
        call.cancel()
        return {"writes": writes}

    async def leave(self) -> None:
        """Hangs up."""
        await self._channel.close()
