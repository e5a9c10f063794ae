"""One generation between an engine and a connection: as fast as it is read, and gone when nobody reads it any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from gatehouse.v1 import online_pb2
from gatehouse_server.engine.loop import Answers, Engine, deliver_to_sinks
from gatehouse_server.engine.observer import Happening
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.errors import Draining, Overloaded
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.lane import SessionLane
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import ListResidents
from gatehouse_server.sessions.sampling import Sampling
from gatehouse_server.transport.gathering import Gathering
from gatehouse_server.transport.generation import Generation

from tests.sessions.desk import Counts, NoSink
from tests.sessions.generating import request

DRAWN = Sampling(temperature=1000.0, seed=3)
"""Nearly even draws: an end token is rare."""


@dataclass
class Connection:
    """Takes messages while its gate is open."""

    messages: list[online_pb2.GenerateResponse] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(self, message: online_pb2.GenerateResponse) -> None:
        self.messages.append(message)
        self.arrived.set()
        await self.gate.wait()

    def time_remaining(self) -> float | None:
        return None


class FailingBackend(TorchOnlineBackend):
    """Fails in one tick when it is told to."""

    fails = False

    def run(self, batch: Any) -> Any:
        if FailingBackend.fails:
            FailingBackend.fails = False
            raise RuntimeError("the device is gone")
        return super().run(batch)


@dataclass
class Bench:
    """An engine with sessions, and what it told."""

    engine: Engine
    counts: Counts

    def generation(self, connection: Connection, **fields: Any) -> Generation:
        """A generation that writes to a connection."""
        return Generation(
            connection,
            request(prompt="how are you", **{"max_steps": 12, **fields}),
            DRAWN,
            engine=self.engine,
            observer=self.counts,
            client="test",
        )

    def happened(self, what: Happening) -> int:
        """How often."""
        return self.counts.happenings.get(what, 0)

    async def until(self, true: Callable[[], bool]) -> None:
        """Waits for what another thread does."""
        async with asyncio.timeout(30):
            while not true():  # noqa: ASYNC110 - a thread sets no event
                await asyncio.sleep(0.001)

    async def until_nothing_is_left(self) -> None:
        """All sequences are closed, and everything is answered."""
        await self.until(lambda: self.engine.unanswered == 0)
        await self.until(lambda: self.counts.last_gauges.continuations == 0)
        assert self.counts.last_gauges.state_bytes == 0


@asynccontextmanager
async def bench(registry: Registry, *, starts: bool = True, max_queued: int = 64) -> AsyncIterator[Bench]:
    """An engine of its own, on its own thread."""
    loop, counts = asyncio.get_running_loop(), Counts()

    def deliver(answers: Answers) -> None:
        with suppress(RuntimeError):  # the loop is closed at the end of a test that stopped the engine
            loop.call_soon_threadsafe(deliver_to_sinks, answers)

    lane = SessionLane(
        registry=registry,
        limits=SessionLimits(max_live_sessions=4),
        batching=OnlineBatching(),
        observer=counts,
        backend_of=FailingBackend,
    )
    engine = Engine(
        lanes=dict.fromkeys(SessionLane.operations, lane),
        observer=counts,
        deliver=deliver,
        max_queued=max_queued,
    )
    if starts:
        engine.start()
    yield Bench(engine, counts)
    if not starts:
        return
    assert await asyncio.to_thread(engine.stop, 30)


async def test_a_message_has_the_step_of_every_alternative(registry: Registry) -> None:
    """One for each tick, and in it those that end; the last one has the last end."""
    async with bench(registry) as on:
        connection = Connection()
        connection.gate.set()
        await on.generation(connection, count=3).run()
        for number, message in enumerate(connection.messages):
            assert {step.position for step in message.steps} <= {3 + number}
            assert len({step.alternative for step in message.steps}) == len(message.steps)
        ends = [end.alternative for message in connection.messages for end in message.ends]
        assert sorted(ends) == [0, 1, 2]
        assert connection.messages[-1].ends
        steps = sum(len(message.steps) for message in connection.messages)
        assert on.happened(Happening.STEP_GENERATED) == steps
        assert (
            on.happened(Happening.CONTINUATION_STOPPED) + on.happened(Happening.CONTINUATION_AT_LENGTH) == 3
        )
        assert on.happened(Happening.CONTINUATION_CUT_SHORT) == 0
        await on.until_nothing_is_left()


async def test_a_slow_reader_stops_the_generation(registry: Registry) -> None:
    """While a message is not taken, one further step is computed and no more; then it goes on where it was."""
    async with bench(registry) as on:
        connection = Connection()
        running = asyncio.create_task(on.generation(connection, max_steps=1000, count=2).run())
        await connection.arrived.wait()
        await on.until(lambda: on.engine.unanswered == 0 and len(on.counts.ticks) == 2)
        for _ in range(50):
            await asyncio.sleep(0)
        assert (len(connection.messages), len(on.counts.ticks)) == (1, 2)
        connection.gate.set()
        await on.until(lambda: len(connection.messages) > 5)
        running.cancel()
        await asyncio.wait({running})
        await on.until_nothing_is_left()


async def test_a_reader_that_leaves_leaves_nothing(registry: Registry) -> None:
    """Cancelled in the middle, its continuations are closed and counted."""
    async with bench(registry) as on:
        connection = Connection()
        running = asyncio.create_task(on.generation(connection, count=5).run())
        await connection.arrived.wait()
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()
        await on.until_nothing_is_left()
        assert on.happened(Happening.CONTINUATION_CUT_SHORT) == 5 - len(connection.messages[0].ends)


async def test_a_reader_that_leaves_before_it_began_leaves_nothing(registry: Registry) -> None:
    """Sequences that are opened for somebody who has gone are closed when that becomes known."""
    async with bench(registry, starts=False) as on:
        running = asyncio.create_task(on.generation(Connection(), count=5).run())
        await asyncio.sleep(0)
        assert on.engine.unanswered == 1
        running.cancel()
        await asyncio.wait({running})
        on.engine.start()
        await on.until(lambda: on.happened(Happening.CONTINUATION_CUT_SHORT) == 5)
        await on.until_nothing_is_left()
        assert await asyncio.to_thread(on.engine.stop, 30)


async def test_a_tick_that_fails_ends_the_generation_and_leaves_nothing(registry: Registry) -> None:
    """The call ends with the failure; the next one is served."""
    async with bench(registry) as on:
        connection = Connection()
        running = asyncio.create_task(on.generation(connection, count=3).run())
        await connection.arrived.wait()
        await on.until(lambda: on.engine.unanswered == 0)
        FailingBackend.fails = True
        connection.gate.set()
        with pytest.raises(RuntimeError, match="the device is gone"):
            await running
        await on.until_nothing_is_left()
        await on.generation(connection).run()


async def test_what_has_begun_is_finished_while_the_server_drains(registry: Registry) -> None:
    """A generation under way goes on to its end, and a new one is refused."""
    async with bench(registry) as on:
        connection = Connection()
        running = asyncio.create_task(on.generation(connection, count=2).run())
        await connection.arrived.wait()
        on.engine.drain()
        with pytest.raises(Draining):
            await on.generation(Connection()).run()
        connection.gate.set()
        await running
        assert sum(len(message.ends) for message in connection.messages) == 2
        await on.until_nothing_is_left()


async def test_a_caller_that_leaves_as_its_sequences_are_opened_leaves_none(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the moment between the engine's answer and the call's next step: nobody else would ever close them."""
    flush = Gathering.flush
    running: asyncio.Task[None] | None = None

    def leaving(self: Gathering) -> None:
        flush(self)
        if running is not None:
            running.cancel()

    monkeypatch.setattr(Gathering, "flush", leaving)
    async with bench(registry) as on:
        running = asyncio.create_task(on.generation(Connection(), count=3).run())
        with pytest.raises(asyncio.CancelledError):
            await running
        running = None
        await on.until_nothing_is_left()
        assert on.happened(Happening.CONTINUATION_CUT_SHORT) == 3


async def test_the_end_of_the_engine_ends_the_generation(registry: Registry) -> None:
    """When the time to drain is over it ends with Draining."""
    async with bench(registry) as on:
        connection = Connection()
        running = asyncio.create_task(on.generation(connection, max_steps=1000).run())
        await connection.arrived.wait()
        assert await asyncio.to_thread(on.engine.stop, 30)
        connection.gate.set()
        with pytest.raises(Draining):
            await running


async def test_a_full_queue_refuses_what_is_new_alone(registry: Registry) -> None:
    """Steps of what has begun are taken in any case."""
    async with bench(registry, max_queued=1) as on:
        connection = Connection()
        running = asyncio.create_task(on.generation(connection, count=4).run())
        await connection.arrived.wait()
        await on.until(lambda: on.engine.unanswered == 0)
        connection.gate.set()
        await running
        await on.until_nothing_is_left()
        with pytest.raises(Overloaded):
            on.engine.submit_all(
                [
                    Ticket(operation=ListResidents(), sink=NoSink(), tag=tag, received_seconds=0.0)
                    for tag in range(2)
                ]
            )
