"""A sessions' lane driven by hand: no engine thread, no RPC, so that what is timed is the sessions' own work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from gatehouse_server.engine.loop import Answers
from gatehouse_server.engine.observer import EngineGauges, SilentObserver
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.incarnations import Incarnations
from gatehouse_server.sessions.keeping import Keeping
from gatehouse_server.sessions.lane import SessionLane
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import OutputRequest, Write
from gatehouse_server.sessions.results import Durability, SessionState
from gatehouse_server.stores.port import SessionStore
from gatehouse_server.stores.worker import StoreWorker

EXPORT_KEY = b"of all lanes of a benchmark"
K = 3

Result = TypeVar("Result")


class Gauges(SilentObserver):
    """Remembers the last gauges."""

    last: EngineGauges | None = None

    def gauges(self, gauges: EngineGauges) -> None:
        """See `Observer`."""
        self.last = gauges


class NoSink:
    """A sink that gets nothing: answers are collected by hand."""

    def add(self, tag: int, outcome: object) -> None:
        """Never called."""
        raise AssertionError("answers are collected by hand")

    def flush(self) -> None:
        """Never called."""
        raise AssertionError("answers are collected by hand")


class Hand:
    """Does what the engine's loop and the store's thread do, on the caller's thread.

    The clock is the real one, and can be moved on, so that sessions rest and expire without anybody waiting.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        limits: SessionLimits,
        store: SessionStore | None = None,
        durability: Durability = "async",
        owner: str = "process-1",
    ) -> None:
        self.limits = limits
        self.gauges = Gauges()
        self.worker: StoreWorker | None = None
        self._skipped_seconds = 0.0
        self._tag = 0
        self._sink = NoSink()
        self._answers: Answers = []
        incarnations = Incarnations()
        if store is not None:
            self.worker = StoreWorker(
                store,
                owner=owner,
                done=lambda: None,
                told_seconds=self.gauges.store_call,
                new_incarnation=incarnations,
            )
        self.lane = SessionLane(
            registry=registry,
            limits=limits,
            batching=OnlineBatching(),
            observer=self.gauges,
            worker=self.worker,
            keeping=Keeping(durability="none" if store is None else durability),
            incarnations=incarnations,
            export_key=EXPORT_KEY,
            clock=self.now,
        )

    def now(self) -> float:
        """The time by which sessions rest and expire, seconds."""
        return time.monotonic() + self._skipped_seconds

    @property
    def fill(self) -> EngineGauges:
        """How many sessions there were after the last turn's housekeeping, and what they took."""
        assert self.gauges.last is not None, "housekeeping tells the gauges"
        return self.gauges.last

    def one(self, operation: Any, kind: type[Result]) -> Result:
        """The outcome of one operation, which has to be of this kind; raises it when it is another failure."""
        return self._of_kind(kind, self.ask((operation,))[0])

    def all(self, operations: Sequence[Any], kind: type[Result]) -> list[Result]:
        """The outcomes of operations that are sent together."""
        return [self._of_kind(kind, outcome) for outcome in self.ask(operations)]

    def ask(self, operations: Sequence[Any]) -> list[object]:
        """Runs operations to their end: as many turns of the engine's loop as that takes."""
        first = self._tag + 1
        for _ in operations:
            self._tag += 1
        received = self.now()
        tickets = [
            Ticket(operation=operation, sink=self._sink, tag=tag, received_seconds=received)
            for tag, operation in enumerate(operations, first)
        ]
        self.lane.accept(tickets, self._answers)
        self._turn()
        while self.lane.unfinished:
            self._turn()
        outcomes = {ticket.tag: outcome for ticket, outcome in self._answers}
        self._answers.clear()
        return [outcomes[ticket.tag] for ticket in tickets]

    def settle(self) -> None:
        """Lets the time between two writes to the store pass, until the store has everything."""
        while True:
            self._skipped_seconds += 0.1
            self._turn()
            self._turn()
            if not self.fill.unsaved_sessions:
                return

    def rest(self) -> None:
        """Lets time pass until no session is live, and those beyond the limit of resident ones are with the store."""
        self.settle()
        self._skipped_seconds += self.limits.rest_seconds + 1
        while True:
            self._turn()
            fill = self.fill
            resident = fill.packed_sessions
            if not fill.live_sessions and (
                self.worker is None or resident <= self.limits.max_resident_sessions
            ):
                return

    def expire(self) -> None:
        """Lets time pass until every session has expired; one turn."""
        self._skipped_seconds += self.limits.idle_seconds + 1
        self._turn()

    def leave(self) -> None:
        """Ends as a server does that drains."""
        self.settle()
        if self.worker is not None:
            self.worker.close(10.0)

    def _turn(self) -> None:
        self.lane.housekeep(self._answers)
        if self.worker is not None:
            self.worker.work()
        if self.lane.has_work():
            self.lane.run(self._answers)

    def _of_kind(self, kind: type[Result], outcome: object) -> Result:
        if not isinstance(outcome, kind):
            if isinstance(outcome, Exception):
                raise outcome
            raise RuntimeError(f"{outcome} is no {kind.__name__}")
        return outcome


def append(session_id: str, state: SessionState, tokens: Sequence[int], at: int | None = None) -> Write:
    """The next write as a client sends it: at the end of the tape, or at a position before."""
    return Write(
        session_id=session_id,
        incarnation=state.incarnation,
        revision=state.revision + 1,
        at=state.position if at is None else at,
        inputs=np.array(tokens, dtype=np.int64),
        outputs=OutputRequest(k=K),
    )


@dataclass(frozen=True, slots=True)
class Spent:
    """What something took: by the clock, and of the processor's time by this thread."""

    seconds: float
    cpu_seconds: float


def timed(what: Callable[[], Result]) -> tuple[Spent, Result]:
    """What it took, and what came of it."""
    began, cpu_began = time.perf_counter(), time.thread_time()
    result = what()
    return Spent(time.perf_counter() - began, time.thread_time() - cpu_began), result


def summary(spent: Sequence[Spent]) -> dict[str, float]:
    """In milliseconds."""
    p50, p99, most = np.percentile([each.seconds for each in spent], (50, 99, 100)).tolist()
    cpu_p50 = float(np.median([each.cpu_seconds for each in spent]))
    return {
        "count": len(spent),
        "p50_ms": round(1000 * p50, 3),
        "p99_ms": round(1000 * p99, 3),
        "max_ms": round(1000 * most, 3),
        "cpu_p50_ms": round(1000 * cpu_p50, 3),
    }
