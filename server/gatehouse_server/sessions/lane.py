"""The sessions' lane of the engine: takes operations, runs them in each session's order, answers them."""

from __future__ import annotations

import secrets
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gatehouse_server.engine.job import Job
from gatehouse_server.engine.loop import Answers
from gatehouse_server.engine.observer import EngineGauges, Happening, Observer
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import (
    DeadlineExpired,
    Draining,
    GatehouseError,
    RevisionConflict,
    StateBehind,
    StoreUnavailable,
)
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.directory import Directory
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.incarnations import Incarnations
from gatehouse_server.sessions.keeper import Keeper, Keeping
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.lost import LostSessions
from gatehouse_server.sessions.operations import (
    CreateSession,
    DeleteSession,
    DescribeResidents,
    EvictSession,
    ExportSession,
    ForkSession,
    GetSession,
    ImportSession,
    InspectSession,
    ListResidents,
    ListStored,
    RefusedWrite,
    Suggest,
    Write,
)
from gatehouse_server.sessions.performing import Performance
from gatehouse_server.sessions.reception import Reception
from gatehouse_server.sessions.residents import Residents
from gatehouse_server.sessions.sealing import Sealer
from gatehouse_server.sessions.steps import Step, StoreStep
from gatehouse_server.sessions.work import Work
from gatehouse_server.stores.port import StoreFailure
from gatehouse_server.stores.worker import StoreWorker

_USES = (Write, RefusedWrite, Suggest, ForkSession, ExportSession)
"""Operations that count as using a session: they postpone its expiry."""

_MOST_RESTED_PER_TURN = 64
_MOST_MOVED_OUT_PER_TURN = 256


@dataclass(slots=True, eq=False)
class _Line:
    """The operations on one session, whether it is there or not: one under way, others waiting."""

    key: str
    waiting: deque[Ticket] = field(default_factory=deque)
    ticket: Ticket | None = None
    work: Work | None = None
    running: Generator[Step, Any, object] | None = None
    job: Job | None = None


class SessionLane:
    """Owns the sessions. Calls that change anything come from the engine thread.

    Operations of one session run one after the other in the order of arrival; those of different sessions share
    ticks. `worker` talks to the state store, if there is one; `export_key` seals exported sessions, by default one of
    the store's, or of this process alone. `ran` hears how many seconds the ticks of a turn took.
    """

    operations = (
        Write,
        RefusedWrite,
        Suggest,
        CreateSession,
        ForkSession,
        ExportSession,
        ImportSession,
        GetSession,
        DeleteSession,
        EvictSession,
        ListResidents,
        DescribeResidents,
        InspectSession,
        ListStored,
    )

    def __init__(
        self,
        *,
        registry: Registry,
        limits: SessionLimits,
        batching: OnlineBatching,
        observer: Observer,
        worker: StoreWorker | None = None,
        keeping: Keeping | None = None,
        incarnations: Incarnations | None = None,
        secret: bytes | None = None,
        export_key: bytes | None = None,
        ran: Callable[[float], None] = lambda seconds: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._worker = worker
        self._ran = ran
        keeping = keeping or Keeping()
        secret = secret or secrets.token_bytes(32)
        self._lines: dict[str, _Line] = {}
        self._hosts = Hosts(registry, limits=limits, batching=batching, observer=observer, clock=clock)
        self._residents = Residents(
            hosts=self._hosts,
            limits=limits,
            stores=worker is not None,
            stores_tapes=keeping.keeps_tapes,
            busy=self._lines,
            note=lambda session_id: self._keeper.note(session_id),
            clock=clock,
            wall_clock=wall_clock,
        )
        self._keeper = Keeper(
            worker=worker,
            residents=self._residents,
            hosts=self._hosts,
            keeping=keeping,
            limits=limits,
            observer=observer,
            clock=clock,
            wall_clock=wall_clock,
        )
        reception = self._reception = Reception(
            hosts=self._hosts,
            residents=self._residents,
            keeper=self._keeper,
            lost=LostSessions(
                most=limits.remembered_lost_sessions, seconds=limits.remembered_lost_seconds, clock=clock
            ),
            sealer=Sealer(export_key or secret),
            secret=secret,
            new_incarnation=incarnations or Incarnations(),
            limits=limits,
            observer=observer,
            clock=clock,
            wall_clock=wall_clock,
        )
        self._performance = Performance(
            reception=reception, hosts=self._hosts, keeper=self._keeper, observer=observer
        )
        self._directory = Directory(
            residents=self._residents,
            keeper=self._keeper,
            reception=reception,
            limits=limits,
            clock=clock,
            wall_clock=wall_clock,
        )
        self._answers: Answers = []
        self._free_again: deque[_Line] = deque()
        self._without_room: deque[_Line] = deque()

    def accept(self, tickets: Sequence[Ticket], answers: Answers) -> None:
        """Takes operations; answers at once what needs no computing."""
        self._answers = answers
        self._reception.expire()
        for ticket in tickets:
            try:
                self._admit(ticket)
            except GatehouseError as error:
                self._answer(ticket, error)
        self._begin_waiting()

    def has_work(self) -> bool:
        """Whether there is something to compute, or an answer of the store to look at."""
        if self._free_again or (self._worker is not None and self._worker.has_results):
            return True
        return any(model.engine.queued for model in self._hosts)

    @property
    def unfinished(self) -> bool:
        """Whether any operation has no answer yet."""
        return bool(self._lines)

    def run(self, answers: Answers) -> None:
        """One tick of every model that has jobs; what the store has done is taken up before."""
        self._answers = answers
        if self._worker is not None:
            self._worker.collect()
        began_seconds = self._clock()
        ticked = False
        for model in self._hosts:
            if model.engine.queued:
                model.engine.tick()
                ticked = True
        self._begin_waiting()
        if ticked:
            self._ran(self._clock() - began_seconds)

    def wakes_in_seconds(self) -> float | None:
        """Until something is due by time alone."""
        due = [self._residents.next_change_seconds(), self._keeper.next_seconds()]
        return min((seconds for seconds in due if seconds is not None), default=None)

    def housekeep(self, answers: Answers) -> None:
        """Ends sessions whose time is up, moves others out of the way, stores what changed, tells of it."""
        self._answers = answers
        self._reception.expire()
        rested = self._residents.rest(_MOST_RESTED_PER_TURN)
        if rested:
            self._observer.happened(Happening.SESSION_RESTED, rested)
        self._residents.move_out(_MOST_MOVED_OUT_PER_TURN)
        self._keeper.housekeep()
        self._observer.gauges(
            EngineGauges(
                live_sessions=self._residents.live_count,
                packed_sessions=self._residents.packed_count,
                stored_sessions=self._keeper.known_sessions,
                sessions_by_model=dict(self._residents.by_model),
                state_bytes=self._hosts.state_bytes,
                packed_bytes=self._residents.packed_bytes,
                unsaved_sessions=self._keeper.unsaved_sessions,
                lag_seconds=self._keeper.lag_seconds,
            )
        )

    def store_problem(self) -> str | None:
        """Why the state store keeps writes from being taken. From any thread."""
        return self._keeper.problem()

    def store_warning(self) -> str | None:
        """What is wrong with the state store, though writes are taken. From any thread."""
        return self._keeper.warning()

    def abandon(self, answers: Answers) -> None:
        """Answers unfinished operations with Draining; none of them is applied. Hands what was applied to the store."""
        self._answers = answers
        for line in list(self._lines.values()):
            self._observer.happened(Happening.DROPPED_DRAINING, (line.ticket is not None) + len(line.waiting))
            if line.job is not None:
                line.job.cancelled = True
            if line.running is not None:
                line.running.close()
            if line.ticket is not None:
                self._answer(line.ticket, Draining())
            for ticket in line.waiting:
                self._answer(ticket, Draining())
        self._lines.clear()
        self._free_again.clear()
        self._without_room.clear()
        self._keeper.store_all()

    def _admit(self, ticket: Ticket) -> None:
        operation = ticket.operation
        if isinstance(operation, ListResidents):
            self._answer(ticket, self._directory.residents())
        elif isinstance(operation, DescribeResidents):
            self._answer(ticket, self._directory.describe(operation.session_ids))
        else:
            key = self._key(operation)
            line = self._lines.get(key)
            if line is None:
                self._reception.expire_if_over(key)
            if isinstance(operation, GetSession) and self._directory.knows(key, self._lines):
                self._answer(ticket, self._directory.view(key))
                return
            if line is None:
                line = self._lines[key] = _Line(key)
            if line.running is not None or line.waiting:
                line.waiting.append(ticket)
            else:
                self._begin(line, ticket)

    def _key(self, operation: Any) -> str:
        """What an operation waits in line for: the session that it names or makes."""
        if isinstance(operation, CreateSession | ImportSession):
            return self._reception.new_id(operation.session_id, operation.request_id)
        if isinstance(operation, ListStored):
            return f"\0{secrets.token_hex(8)}"  # of no session, and no session has such an identifier
        if isinstance(operation, Suggest) and operation.session_id is None:
            return self._reception.new_id(None, None)
        session_id: str = operation.session_id
        return session_id

    def _begin(self, line: _Line, ticket: Ticket) -> None:
        line.ticket = ticket
        work = line.work = Work(ticket, finished=partial(self._job_finished, line), clock=self._clock)
        line.running = self._running(ticket.operation, line.key, work)
        self._resume(line, None, None)

    def _running(self, operation: Any, key: str, work: Work) -> Generator[Step, Any, object]:
        performance, reception = self._performance, self._reception
        if isinstance(operation, Write):
            return performance.write(operation, work)
        if isinstance(operation, Suggest):
            return performance.suggest(operation, key, work)
        if isinstance(operation, RefusedWrite):
            return performance.refuse(operation)
        if isinstance(operation, CreateSession):
            return reception.create(operation, key)
        if isinstance(operation, ForkSession):
            return reception.fork(operation, work)
        if isinstance(operation, ExportSession):
            return reception.export(operation)
        if isinstance(operation, ImportSession):
            return reception.import_(operation, key)
        if isinstance(operation, DeleteSession):
            return performance.delete(operation)
        if isinstance(operation, EvictSession):
            return performance.evict(operation)
        if isinstance(operation, GetSession):
            return self._directory.find(operation.session_id)
        if isinstance(operation, InspectSession):
            return self._directory.inspect(operation.session_id)
        assert isinstance(operation, ListStored)
        return self._directory.stored(operation)

    def _job_finished(self, line: _Line, job: Job, failure: Exception | None) -> None:
        self._resume(line, None, failure)

    def _store_answered(self, line: _Line, running: object, outcome: object) -> None:
        if line.running is not running:
            return  # the operation was given up meanwhile
        if isinstance(outcome, StoreFailure):
            self._resume(line, None, StoreUnavailable(f"the state store fails: {outcome}"))
        else:
            self._resume(line, outcome, None)

    def _resume(self, line: _Line, value: object, failure: Exception | None) -> None:
        """Lets the line's operation run up to its next step, or to its end."""
        running = line.running
        assert running is not None, "only what was begun is resumed"
        line.job = None
        try:
            step = running.send(value) if failure is None else running.throw(failure)
        except StopIteration as finished:
            self._settle(line, finished.value)
        except Exception as error:
            self._settle(line, error)
        else:
            if isinstance(step, Job):
                line.job = step
                assert line.work is not None, "an operation has its work"
                line.work.submit(step)
            elif isinstance(step, StoreStep):
                step.begin(partial(self._store_answered, line, running))
            else:
                self._without_room.append(line)

    def _settle(self, line: _Line, outcome: object) -> None:
        """Answers the line's operation and has the next one begin that waits."""
        ticket = line.ticket
        assert ticket is not None, "only what was begun is settled"
        line.ticket = line.work = line.running = None
        session = self._residents.live(line.key)
        if isinstance(outcome, Exception):
            self._note_refusal(line.key, ticket, outcome)
        self._answer(ticket, outcome)
        if session is not None and isinstance(ticket.operation, _USES):
            self._residents.touch(session)
            self._keeper.refresh_expiry(session)
        if line.waiting or self._without_room:
            self._free_again.append(line)
        if not line.waiting:
            del self._lines[line.key]

    def _begin_waiting(self) -> None:
        """Begins the next operation of each line that has become free. A loop: operations may end at once."""
        while self._free_again:
            line = self._free_again.popleft()
            if line.waiting and line.running is None:
                self._begin(line, line.waiting.popleft())
            for _ in range(len(self._without_room)):
                if not self._residents.make_room():
                    break
                self._resume(self._without_room.popleft(), None, None)

    def _note_refusal(self, session_id: str, ticket: Ticket, error: Exception) -> None:
        """Remembers that the write which was next was refused, so that what follows it in a pipeline is too."""
        operation = ticket.operation
        session = self._residents.live(session_id)
        if isinstance(error, DeadlineExpired):
            self._observer.happened(Happening.DROPPED_DEADLINE)
        if isinstance(error, RevisionConflict):
            self._observer.happened(Happening.WRITE_CONFLICTED)
            if session is not None:
                session.conflict = weakref.ref(ticket.sink), self._clock()
        elif isinstance(error, StateBehind):
            self._observer.happened(Happening.WRITE_BEHIND)
        elif (
            session is not None
            and isinstance(operation, Write | RefusedWrite)
            and operation.revision == session.revision + 1
        ):
            session.refused = True

    def _answer(self, ticket: Ticket, outcome: object) -> None:
        self._answers.append((ticket, outcome))
