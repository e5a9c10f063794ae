"""Writes per second of 64 sessions in closed loop through the real engine, by state store and durability.

Each session writes its next token when it has the answer to the last one, asking for the three best next tokens. The
engine and the store have their threads, and answers come to an event loop, as in the server; there is no RPC.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatehouse_server.engine.loop import Answers, Engine, deliver_to_sinks
from gatehouse_server.engine.observer import OnlineTick, SilentObserver
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.incarnations import Incarnations
from gatehouse_server.sessions.keeping import Keeping
from gatehouse_server.sessions.lane import SessionLane
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import CreateSession
from gatehouse_server.sessions.results import Durability, SessionState, SessionView, WriteResult
from gatehouse_server.stores.port import SessionStore
from gatehouse_server.stores.redis import RedisStore
from gatehouse_server.stores.sqlite import SqliteStore
from gatehouse_server.stores.worker import StoreWorker

from benchmarks.hand import Spent, append, summary
from benchmarks.made_sessions import random_tokens, registry_of
from benchmarks.redis_process import running_redis

SESSIONS = 64
SECONDS = 4.0

_WARM_UP_SECONDS = 1.0

Row = dict[str, Any]
OpenStore = Callable[[], SessionStore]


@dataclass
class Ticks(SilentObserver):
    """Counts the sessions in ticks."""

    ticks: int = 0
    sessions: int = 0

    def online_tick(self, tick: OnlineTick) -> None:
        """See `Observer`."""
        self.ticks += 1
        self.sessions += tick.sessions


@dataclass
class Crew:
    """The sessions, as one client: a sink that answers every answer with the next write until time is up."""

    engine: Engine
    states: dict[str, SessionState] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    sent: dict[int, float] = field(default_factory=dict)
    spent: list[Spent] = field(default_factory=list)
    until: float = 0.0
    ready: list[int] = field(default_factory=list)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    failure: BaseException | None = None

    def add(self, tag: int, outcome: object) -> None:
        """An answer."""
        sent = self.sent.pop(tag, None)
        if isinstance(outcome, SessionView):
            self.ids.append(outcome.session_id)
            self.states[outcome.session_id] = outcome.state
        elif isinstance(outcome, WriteResult) and sent is not None:
            self.states[outcome.session_id] = outcome.state
            self.spent.append(Spent(time.perf_counter() - sent, 0.0))
            self.ready.append(tag)
        elif isinstance(outcome, BaseException):
            self.failure = outcome
        if self.failure is not None or (not self.sent and not self.ready):
            self.idle.set()

    def flush(self) -> None:
        """All answers of a tick are there: the next writes go out together."""
        if time.perf_counter() < self.until and self.failure is None:
            self.engine.submit_all([self._write(tag) for tag in self.ready])
        elif not self.sent:
            self.idle.set()
        self.ready.clear()

    async def create(self, model: str) -> None:
        """Makes the sessions."""
        for tag in range(SESSIONS):
            self.engine.submit(self._ticket(CreateSession(model=model), tag))
        await self._settled()

    async def write(self, seconds: float) -> float:
        """Has all sessions write for so long; how long it really took."""
        self.spent = []
        began = time.perf_counter()
        self.until = began + seconds
        self.engine.submit_all([self._write(tag) for tag in range(SESSIONS)])
        await self._settled()
        return time.perf_counter() - began

    async def _settled(self) -> None:
        self.idle.clear()
        await self.idle.wait()
        if self.failure is not None:
            raise self.failure

    def _write(self, tag: int) -> Ticket:
        session_id = self.ids[tag]
        return self._ticket(append(session_id, self.states[session_id], random_tokens(1)), tag)

    def _ticket(self, operation: Any, tag: int) -> Ticket:
        self.sent[tag] = time.perf_counter()
        return Ticket(operation=operation, sink=self, tag=tag, received_seconds=self.engine.clock())


def measure(folder: Path) -> list[Row]:
    """A row for each store and durability."""
    registry = registry_of(folder)
    rows = []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(running_redis(scratch))
        regimes: list[tuple[str, Durability, OpenStore | None]] = [
            ("memory", "none", None),
            ("SQLite", "async", lambda: SqliteStore(scratch / "async.db", synchronous="normal")),
            ("SQLite", "sync", lambda: SqliteStore(scratch / "sync.db", synchronous="full")),
            ("Redis", "async", lambda: RedisStore(url, prefix="async")),
            ("Redis", "sync", lambda: RedisStore(url, prefix="sync")),
        ]
        for store, durability, open_store in regimes:
            measured = asyncio.run(_run(registry, None if open_store is None else open_store(), durability))
            rows.append({"store": store, "durability": durability, **measured})
    plain = rows[0]["writes_per_second"]
    for row in rows:
        row["ratio"] = round(row["writes_per_second"] / plain, 2)
    return rows


async def _run(registry: Registry, store: SessionStore | None, durability: Durability) -> Row:
    loop = asyncio.get_running_loop()

    def deliver(answers: Answers) -> None:
        loop.call_soon_threadsafe(deliver_to_sinks, answers)

    ticks, incarnations = Ticks(), Incarnations()
    worker = None
    if store is not None:
        worker = StoreWorker(
            store,
            owner="benchmark",
            done=lambda: engine.wake(),
            told_seconds=ticks.store_call,
            new_incarnation=incarnations,
        )
        worker.start()
    lane = SessionLane(
        registry=registry,
        limits=SessionLimits(),
        batching=OnlineBatching(),
        observer=ticks,
        worker=worker,
        keeping=Keeping(durability=durability),
        incarnations=incarnations,
    )
    engine = Engine(lanes=dict.fromkeys(SessionLane.operations, lane), observer=ticks, deliver=deliver)
    gc.collect()
    gc.freeze()
    engine.start()
    crew = Crew(engine)
    (model,) = registry.models
    await crew.create(model.key)
    await crew.write(_WARM_UP_SECONDS)
    ticks.ticks = ticks.sessions = 0
    seconds = await crew.write(SECONDS)
    result = {
        "writes_per_second": round(len(crew.spent) / seconds, 1),
        "mean_batch": round(ticks.sessions / ticks.ticks, 1),
        **{name: value for name, value in summary(crew.spent).items() if not name.startswith("cpu")},
    }
    engine.stop(10.0)
    if worker is not None and not worker.close(10.0):
        raise RuntimeError("the store did not take everything")
    return result
