"""Latencies of the open loop are those of steps that were wanted, not of steps that could be sent."""

import asyncio
import random
import time

import pytest
from gatehouse.v1 import online_pb2

from benchmarks.closed_loop import walk_stream
from benchmarks.open_loop import CallUser, StreamUser, arrive
from benchmarks.walkers import MOST_UNANSWERED, Walker, Window, make_walkers

HOLD_SECONDS = 0.2


class FakeServer:
    """Answers writes in order, each stream by itself, when its gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.revisions: list[int] = []
        self.most_waiting = 0

    def Stream(self) -> "FakeCall":  # noqa: N802 - the stub's name
        """A new stream."""
        return FakeCall(self)

    async def Write(self, request: online_pb2.WriteRequest) -> online_pb2.WriteResponse:  # noqa: N802
        """One write."""
        await self.gate.wait()
        self.revisions.append(request.write.revision)
        return online_pb2.WriteResponse(result=answer())


class FakeCall:
    """A stream."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._requests: asyncio.Queue[online_pb2.StreamRequest | None] = asyncio.Queue()
        self._waiting = 0

    async def write(self, request: online_pb2.StreamRequest) -> None:
        """Takes a message."""
        copy = online_pb2.StreamRequest()
        copy.CopyFrom(request)
        self._waiting += len(copy.operations)
        self._server.most_waiting = max(self._server.most_waiting, self._waiting)
        await self._requests.put(copy)

    async def read(self) -> online_pb2.StreamResponse | None:
        """The answer to a message, or None at the end."""
        request = await self._requests.get()
        if request is None:
            return None
        await self._server.gate.wait()
        self._waiting -= len(request.operations)
        self._server.revisions += [operation.write.revision for operation in request.operations]
        results = [
            online_pb2.StreamResult(tag=operation.tag, write=answer()) for operation in request.operations
        ]
        return online_pb2.StreamResponse(results=results)

    async def done_writing(self) -> None:
        """The end."""
        await self._requests.put(None)


def answer() -> online_pb2.WriteResult:
    """Five best tokens."""
    return online_pb2.WriteResult(steps=[online_pb2.StepOutput(best_ids=range(5))])


@pytest.mark.parametrize("kind", ["stream", "calls"])
async def test_a_held_up_server_shows_in_every_step_that_was_due(kind):
    """Steps that were due while nothing could be answered count from when they were due, though they went out later."""
    server = FakeServer()
    server.gate.clear()
    now = time.monotonic()
    window = Window(begin=now, end=now + 2 * HOLD_SECONDS)
    walker = Walker(0)
    user = StreamUser(server, [walker], window) if kind == "stream" else CallUser(server, walker, window)
    running = asyncio.create_task(user.run())
    wanted = 3 * MOST_UNANSWERED
    for _ in range(wanted):
        user.want(walker, now)
    asyncio.get_running_loop().call_later(HOLD_SECONDS, server.gate.set)
    user.leave()
    await running
    assert len(window.latencies) == wanted
    assert min(window.latencies) >= HOLD_SECONDS
    assert server.revisions == list(range(1, wanted + 1))
    if kind == "stream":
        assert server.most_waiting <= MOST_UNANSWERED


async def test_arrivals_come_at_the_rate_that_was_asked_for():
    """A Poisson process has as many arrivals as its rate says, but for five times its deviation."""

    class Counting:
        count = 0

        def want(self, walker, due):
            self.count += 1

    rate, seconds = 20_000.0, 0.2
    now = time.monotonic()
    user = Counting()
    users = {Walker(0): user, Walker(1): user}
    arrivals = await arrive(users, rate, Window(begin=now, end=now + seconds), random.Random(1))
    assert arrivals.count == user.count
    assert abs(arrivals.count - rate * seconds) < 5 * (rate * seconds) ** 0.5


async def test_only_steps_of_the_window_count():
    """The closed loop warms up before the window: what is answered then is left out, and nothing begins after it."""
    server = FakeServer()
    walkers = await make_walkers(server, None, 3, share_stream=True)
    now = time.monotonic()
    window = Window(begin=now + 1e6, end=now + 0.02)
    await walk_stream(server, walkers, window)
    assert window.latencies == []
    assert len(server.revisions) >= 3
