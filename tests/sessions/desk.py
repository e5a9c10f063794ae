"""A sessions' lane driven by hand: no thread, a clock that tests move, a store that works when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from gatehouse_server.engine.loop import Answers
from gatehouse_server.engine.observer import Happening, SilentObserver
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.programs import PlainPrograms
from gatehouse_server.engine.recorded_programs import TILE_ROWS
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.incarnations import Incarnations
from gatehouse_server.sessions.keeping import Keeping
from gatehouse_server.sessions.lane import SessionLane
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import CreateSession, GetSession, OutputRequest, Suggest, Write
from gatehouse_server.sessions.results import Durability, SessionView, SuggestResult, WriteResult
from gatehouse_server.stores.port import SessionStore
from gatehouse_server.stores.worker import StoreWorker


class Counts(SilentObserver):
    """Counts happenings and remembers ticks."""

    def __init__(self) -> None:
        self.happenings: dict[Happening, int] = {}
        self.ticks: list[Any] = []
        self.last_gauges: Any = None

    def happened(self, what: Happening, amount: int = 1) -> None:
        self.happenings[what] = self.happenings.get(what, 0) + amount

    def online_tick(self, tick: Any) -> None:
        self.ticks.append(tick)

    def gauges(self, gauges: Any) -> None:
        self.last_gauges = gauges


class NoSink:
    """A sink that nobody reads: the desk collects answers itself."""

    def add(self, tag: int, outcome: object) -> None:
        raise AssertionError("the desk delivers answers itself")

    def flush(self) -> None:
        raise AssertionError("the desk delivers answers itself")


@dataclass
class Desk:
    """Takes operations, lets the lane run, hands back outcomes in the order of the operations.

    `open_store` opens the state store, the same one each time; `restart` begins a new process on it.
    """

    registry: Registry
    limits: SessionLimits = field(default_factory=lambda: SessionLimits(max_sessions=64))
    batching: OnlineBatching = field(default_factory=OnlineBatching)
    open_store: Callable[[], SessionStore] | None = None
    durability: Durability = "async"
    keeps_tapes: bool = True
    export_key: bytes | None = None
    owner: str = "process-1"
    records_ticks: bool = False
    """As a server does. It takes a while, and changes nothing: tests/engine/test_programs.py."""

    def __post_init__(self) -> None:
        self.now = 1000.0
        self.counts = Counts()
        self.answers: Answers = []
        self.left: list[str] = []
        self._tag = 0
        self._restarts = 0
        self._incarnations = Incarnations(lambda: round(self.unix_now() * 1e9))
        self._open()

    def unix_now(self) -> float:
        """The wall clock."""
        return 1_700_000_000.0 + self.now

    def _open(self) -> None:
        self.worker: StoreWorker | None = None
        secret = None
        if self.open_store is not None:
            store = self.open_store()
            secret = store.secret
            self.worker = StoreWorker(
                store,
                owner=f"{self.owner}.{self._restarts}",
                done=lambda: None,
                told_seconds=self.counts.store_call,
                new_incarnation=self._incarnations,
            )
        self.lane = SessionLane(
            registry=self.registry,
            limits=self.limits,
            batching=self.batching,
            observer=self.counts,
            worker=self.worker,
            keeping=Keeping(
                durability=self.durability if self.worker is not None else "none",
                interval_seconds=0.05,
                keeps_tapes=self.keeps_tapes,
            ),
            incarnations=self._incarnations,
            secret=secret,
            export_key=self.export_key,
            backend_of=TorchOnlineBackend
            if self.records_ticks
            else partial(TorchOnlineBackend, programs_of=partial(PlainPrograms, tile_rows=TILE_ROWS)),
            model_left=lambda model: self.left.append(model.key),
            clock=lambda: self.now,
            wall_clock=self.unix_now,
        )

    def restart(self, *, store_first: bool) -> None:
        """Ends this process, with or without what waits to be stored, and begins another one on the same store."""
        self.kill() if not store_first else self.leave()
        self._restarts += 1
        self._open()

    def kill(self) -> None:
        """Ends the process as `kill -9` does."""
        if self.worker is not None:
            self.worker._waiting.clear()  # what was handed over and not begun dies with the process
            self.worker.close(1.0)

    def leave(self) -> None:
        """Ends the process as a drain does."""
        self.store()
        if self.worker is not None:
            self.worker.close(1.0)

    def store(self) -> None:
        """Lets time pass until everything that changed is stored."""
        self.now += 0.05
        self.tick()
        if self.worker is not None:
            self.worker.work()
        self.lane.run(self.answers)

    def send(self, *operations: Any, deadline_seconds: float | None = None) -> list[Ticket]:
        """Hands operations over without running anything."""
        tickets = []
        for operation in operations:
            self._tag += 1
            tickets.append(
                Ticket(
                    operation=operation,
                    sink=NoSink(),
                    tag=self._tag,
                    received_seconds=self.now,
                    deadline_seconds=deadline_seconds,
                )
            )
        self.lane.accept(tickets, self.answers)
        return tickets

    def tick(self) -> None:
        """One turn of the engine loop."""
        self.lane.housekeep(self.answers)
        if self.lane.has_work():
            self.lane.run(self.answers)

    def settle(self, tickets: Sequence[Ticket]) -> list[Any]:
        """Runs until everything is answered; the outcomes of these tickets."""
        while self.lane.unfinished:
            if self.worker is not None:
                self.worker.work()
            self.lane.run(self.answers)
        outcomes = {ticket.tag: outcome for ticket, outcome in self.answers}
        return [outcomes[ticket.tag] for ticket in tickets]

    def ask(self, *operations: Any) -> list[Any]:
        """Sends operations together and runs them to their end."""
        return self.settle(self.send(*operations))

    def one(self, operation: Any) -> Any:
        """The outcome of one operation; raises it when it is an error."""
        (outcome,) = self.ask(operation)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def create(self, model: str = "keyboard", session_id: str | None = None) -> SessionView:
        """A new session."""
        view = self.one(CreateSession(model=model, session_id=session_id))
        assert isinstance(view, SessionView)
        return view

    def get(self, session_id: str) -> SessionView:
        """Where a session stands."""
        view = self.one(GetSession(session_id=session_id))
        assert isinstance(view, SessionView)
        return view

    def write(self, session_id: str, inputs: Any = None, **fields: Any) -> WriteResult:
        """A write without revision, or with what is given."""
        result = self.one(make_write(session_id, inputs, **fields))
        assert isinstance(result, WriteResult)
        return result

    def suggest(self, session_id: str | None, text: str, k: int = 3, **fields: Any) -> SuggestResult:
        """A suggestion."""
        result = self.one(Suggest(session_id=session_id, model=None, text=text, k=k, **fields))
        assert isinstance(result, SuggestResult)
        return result


def make_write(
    session_id: str,
    inputs: Any = None,
    *,
    k: int | None = None,
    every_step: bool = False,
    scores: bool = False,
    vector: bool = False,
    hidden: bool = False,
    activations: bool = False,
    **fields: Any,
) -> Write:
    """A write; lists of ints become token ids."""
    if isinstance(inputs, list):
        inputs = np.array(inputs, dtype=np.int64)
    outputs = OutputRequest(
        k=k, every_step=every_step, scores=scores, vector=vector, hidden=hidden, activations=activations
    )
    return Write(session_id=session_id, inputs=inputs, outputs=outputs, **fields)
