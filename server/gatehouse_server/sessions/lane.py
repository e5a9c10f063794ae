"""The sessions' lane of the engine: takes operations, runs them in each session's order, answers them."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
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
    ModelMismatch,
    Overloaded,
    RevisionConflict,
    SessionNotFound,
    StateBehind,
)
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import (
    CreateSession,
    DeleteSession,
    GetSession,
    RefusedWrite,
    Suggest,
    Write,
)
from gatehouse_server.sessions.results import SessionDeleted
from gatehouse_server.sessions.session import Session
from gatehouse_server.sessions.suggesting import check_suggests, suggest
from gatehouse_server.sessions.table import SessionTable
from gatehouse_server.sessions.work import Work, view_of
from gatehouse_server.sessions.writing import refuse, write


@dataclass(slots=True)
class _Active:
    """An operation that has begun, and the job that it waits for."""

    ticket: Ticket
    running: Generator[Job, None, object]
    job: Job | None = None

    def cancel(self) -> None:
        """Ends it without an answer: its rows are given back, and its job is not computed any more."""
        if self.job is not None:
            self.job.cancelled = True
        self.running.close()


class SessionLane:
    """Owns the sessions. Calls that change anything come from the engine thread.

    Operations of one session run one after the other in the order of arrival; those of different sessions share
    ticks.
    """

    operations = (Write, RefusedWrite, Suggest, CreateSession, GetSession, DeleteSession)

    def __init__(
        self,
        *,
        registry: Registry,
        limits: SessionLimits,
        batching: OnlineBatching,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._table = SessionTable(limits=limits, clock=clock)
        self._hosts = Hosts(registry, limits=limits, batching=batching, observer=observer, clock=clock)
        self._answers: Answers = []
        self._active: dict[Session, _Active] = {}
        self._free_again: deque[Session] = deque()

    def accept(self, tickets: Sequence[Ticket], answers: Answers) -> None:
        """Takes operations; answers at once what needs no computing."""
        self._answers = answers
        self._end_expired()
        for ticket in tickets:
            try:
                self._admit(ticket)
            except GatehouseError as error:
                self._answer(ticket, error)
        self._begin_waiting()

    def has_work(self) -> bool:
        """Whether any operation is unfinished."""
        return bool(self._active)

    def run(self, answers: Answers) -> None:
        """One tick of every model that has jobs."""
        self._answers = answers
        for model in self._hosts:
            if model.engine.queued:
                model.engine.tick()
        self._begin_waiting()

    def wakes_in_seconds(self) -> float | None:
        """Until the next session expires."""
        return self._table.next_expiry_seconds()

    def housekeep(self, answers: Answers) -> None:
        """Ends sessions whose time is up, and tells how many there are."""
        self._answers = answers
        self._end_expired()
        self._observer.gauges(
            EngineGauges(
                sessions=len(self._table),
                sessions_by_model=dict(self._table.by_model),
                state_bytes=self._hosts.state_bytes,
            )
        )

    def abandon(self, answers: Answers) -> None:
        """Answers unfinished operations with Draining; none of them is applied."""
        self._answers = answers
        for session in list(self._active):
            self._observer.happened(Happening.DROPPED_DRAINING, 1 + len(session.waiting))
            self._drop(session, Draining())

    def _admit(self, ticket: Ticket) -> None:
        operation = ticket.operation
        if isinstance(operation, Write):
            self._enqueue(self._table.get(operation.session_id), ticket)
        elif isinstance(operation, RefusedWrite):
            session = self._table.find(operation.session_id)
            if session is None:
                raise operation.error
            self._enqueue(session, ticket)
        elif isinstance(operation, Suggest):
            self._admit_suggestion(ticket, operation)
        elif isinstance(operation, CreateSession):
            self._answer(ticket, view_of(self._create(operation), self._clock()))
        elif isinstance(operation, GetSession):
            self._answer(ticket, view_of(self._table.get(operation.session_id), self._clock()))
        else:
            assert isinstance(operation, DeleteSession)
            self._delete(self._table.get(operation.session_id))
            self._answer(ticket, SessionDeleted(session_id=operation.session_id))

    def _admit_suggestion(self, ticket: Ticket, operation: Suggest) -> None:
        session = None if operation.session_id is None else self._table.find(operation.session_id)
        rebuilt = session is None
        if session is None:
            model = self._hosts.suggesting(operation.model)
            check_suggests(model, operation)
            session = self._make(model, session_id=operation.session_id)
            self._observer.happened(Happening.SESSION_REBUILT)
        elif operation.model is not None and operation.model not in (session.model.key, session.model.name):
            raise ModelMismatch(
                f"session {session.session_id!r} runs on {session.model.key}, not on {operation.model}. "
                "Use another session, or leave the model out"
            )
        self._enqueue(session, ticket, rebuilt=rebuilt)

    def _create(self, operation: CreateSession) -> Session:
        if operation.request_id is not None:
            made = self._table.made_by(operation.request_id)
            if made is not None:
                return made
        return self._make(
            self._hosts.get(operation.model),
            session_id=operation.session_id,
            request_id=operation.request_id,
        )

    def _make(
        self, model: HostedModel, *, session_id: str | None = None, request_id: str | None = None
    ) -> Session:
        try:
            session = self._table.create(model, session_id=session_id, request_id=request_id)
        except Overloaded:
            self._observer.happened(Happening.REFUSED_SESSIONS_FULL)
            raise
        self._observer.happened(Happening.SESSION_CREATED)
        return session

    def _delete(self, session: Session) -> None:
        self._drop(session, _deleted(session))
        self._table.end(session, "SESSION_DELETED")
        self._observer.happened(Happening.SESSION_DELETED)

    def _drop(self, session: Session, answer: GatehouseError) -> None:
        """Answers everything that the session has under way or waiting; nothing of it is applied."""
        active = self._active.pop(session, None)
        if active is not None:
            active.cancel()
            session.busy = False
            self._answer(active.ticket, answer)
        while session.waiting:
            self._answer(session.waiting.popleft(), answer)

    def _end_expired(self) -> None:
        for session in self._table.expired():
            self._table.end(session, "SESSION_EXPIRED")
            self._observer.happened(Happening.SESSION_EXPIRED)

    def _enqueue(self, session: Session, ticket: Ticket, *, rebuilt: bool = False) -> None:
        if session.busy or session.waiting:
            session.waiting.append(ticket)
        else:
            self._begin(session, ticket, rebuilt=rebuilt)

    def _begin(self, session: Session, ticket: Ticket, *, rebuilt: bool = False) -> None:
        session.busy = True
        operation = ticket.operation
        work = Work(ticket, finished=partial(self._job_finished, session), clock=self._clock)
        if isinstance(operation, Suggest):
            running: Generator[Job, None, Any] = suggest(
                session, operation, work, self._observer, rebuilt=rebuilt
            )
        elif isinstance(operation, RefusedWrite):
            running = refuse(operation)
        else:
            running = write(session, operation, work, self._observer)
        self._active[session] = _Active(ticket, running)
        self._resume(session, None)

    def _job_finished(self, session: Session, job: Job, failure: Exception | None) -> None:
        self._resume(session, failure)

    def _resume(self, session: Session, failure: Exception | None) -> None:
        """Lets the session's operation run up to its next job, or to its end."""
        active = self._active[session]
        try:
            job = next(active.running) if failure is None else active.running.throw(failure)
        except StopIteration as finished:
            self._settle(session, finished.value)
        except Exception as error:
            self._settle(session, error)
        else:
            active.job = job
            session.model.engine.submit(job)

    def _settle(self, session: Session, outcome: object) -> None:
        """Answers the session's operation and begins the next one that waits."""
        ticket = self._active.pop(session).ticket
        session.busy = False
        if isinstance(outcome, Exception):
            self._note_refusal(session, ticket, outcome)
        self._answer(ticket, outcome)
        self._table.touch(session)
        if session.waiting:
            self._free_again.append(session)

    def _begin_waiting(self) -> None:
        """Begins the next operation of each session that has become free. A loop: operations may end at once."""
        while self._free_again:
            session = self._free_again.popleft()
            if session.waiting and not session.busy:
                self._begin(session, session.waiting.popleft())

    def _note_refusal(self, session: Session, ticket: Ticket, error: Exception) -> None:
        """Remembers that the write which was next was refused, so that what follows it in a pipeline is too."""
        operation = ticket.operation
        if isinstance(error, DeadlineExpired):
            self._observer.happened(Happening.DROPPED_DEADLINE)
        if isinstance(error, RevisionConflict):
            self._observer.happened(Happening.WRITE_CONFLICTED)
            session.conflict = weakref.ref(ticket.sink), self._clock()
        elif isinstance(error, StateBehind):
            self._observer.happened(Happening.WRITE_BEHIND)
        elif isinstance(operation, Write | RefusedWrite) and operation.revision == session.revision + 1:
            session.refused = True

    def _answer(self, ticket: Ticket, outcome: object) -> None:
        self._answers.append((ticket, outcome))


def _deleted(session: Session) -> SessionNotFound:
    return SessionNotFound(
        f"session {session.session_id!r} was deleted while the operation waited; nothing was applied",
        reason="SESSION_DELETED",
    )
