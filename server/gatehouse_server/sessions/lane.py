"""The sessions' lane of the engine: takes operations, runs them in each session's order, answers them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from gatehouse_server.engine.loop import Answers
from gatehouse_server.engine.observer import EngineGauges, Happening, Observer
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.errors import Draining, GatehouseError
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.hosting import MakeBackend
from gatehouse_server.sessions.identifiers import Identifiers
from gatehouse_server.sessions.incarnations import Incarnations
from gatehouse_server.sessions.keeping import Keeping
from gatehouse_server.sessions.keys import Keys
from gatehouse_server.sessions.lane_parts import LaneParts
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.lines import Line, Lines
from gatehouse_server.sessions.model_desk import ModelDesk
from gatehouse_server.sessions.operations import (
    DescribeResidents,
    ExportSession,
    ForkSession,
    GetSession,
    ListResidents,
    OpenSequences,
    Operation,
    RefusedWrite,
    Suggest,
    Write,
)
from gatehouse_server.sessions.refusals import note_refusal
from gatehouse_server.sessions.results import Durability
from gatehouse_server.sessions.sealing import Sealer
from gatehouse_server.stores.worker import StoreWorker

_USES = frozenset((Write, RefusedWrite, Suggest, ForkSession, ExportSession, OpenSequences))
"""Operations that count as using a session: they postpone its expiry."""

_MOST_RESTED_PER_TURN = 64
_MOST_MOVED_OUT_PER_TURN = 256


class SessionLane:
    """Owns the sessions. Calls that change anything come from the engine thread.

    Operations of one session run one after the other in the order of arrival; those of different sessions share
    ticks. `worker` talks to the state store, if there is one; `export_key` seals exported sessions, by default one of
    the store's, or of this process alone. `ran` hears how many seconds the ticks of a turn took,
    `model_left` of a retired model that no session needs any more, both on the engine thread.
    """

    operations: tuple[type, ...] = get_args(Operation)

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
        backend_of: MakeBackend = TorchOnlineBackend,
        model_left: Callable[[LoadedModel], None] = lambda model: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._worker = worker
        self._ran = ran
        secret = secret or secrets.token_bytes(32)
        identifiers = Identifiers(secret)
        under_way: dict[str, Line] = {}
        parts = LaneParts(
            registry=registry,
            limits=limits,
            batching=batching,
            observer=observer,
            worker=worker,
            keeping=keeping or Keeping(),
            incarnations=incarnations or Incarnations(),
            identifiers=identifiers,
            sealer=Sealer(export_key or secret),
            busy=under_way,
            backend_of=backend_of,
            clock=clock,
            wall_clock=wall_clock,
        )
        self._hosts = parts.hosts
        self._residents = parts.residents
        self._keeper = parts.keeper
        self._reception = parts.reception
        self._directory = parts.directory
        self._sequences = parts.sequences
        self._lines = Lines(
            under_way,
            starts=parts.performance.starts,
            ended=self._ended,
            make_room=self._residents.make_room,
            clock=clock,
        )
        self._models = ModelDesk(self._hosts, self._residents.census, left=model_left)
        self._keys = Keys(identifiers)
        self._told_at_once: Mapping[type, Callable[[Any], object]] = {
            ListResidents: lambda operation: self._directory.residents(),
            DescribeResidents: lambda operation: self._directory.describe(operation.session_ids),
            **self._models.answers,
        }
        self._answers: Answers = []

    def accept(self, tickets: Sequence[Ticket], answers: Answers) -> None:
        """Takes operations; answers at once what needs no computing."""
        self._answers = answers
        self._reception.expire()
        for ticket in tickets:
            try:
                self._admit(ticket)
            except GatehouseError as error:
                self._answers.append((ticket, error))
        self._lines.begin_waiting()

    def has_work(self) -> bool:
        """Whether there is something to compute, or an answer of the store to look at."""
        if self._lines.has_free or (self._worker is not None and self._worker.has_results):
            return True
        return self._hosts.have_work

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
        self._lines.go_on_with_slow()
        self._lines.begin_waiting()
        if ticked:
            self._ran(self._clock() - began_seconds)

    def wakes_in_seconds(self) -> float | None:
        """Until something is due by time alone."""
        if self._sequences.untold:
            return 0.0
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
        self._models.let_go()
        self._keeper.housekeep()
        self._observer.gauges(
            EngineGauges(
                live_sessions=self._residents.live_count,
                packed_sessions=self._residents.packed_count,
                stored_sessions=self._keeper.known_sessions,
                sessions_by_model=self._residents.census.by_key(),
                state_bytes=self._hosts.state_bytes,
                packed_bytes=self._residents.packed_bytes,
                unsaved_sessions=self._keeper.unsaved_sessions,
                lag_seconds=self._keeper.lag_seconds,
                continuations=len(self._sequences),
            )
        )
        self._sequences.untold = False

    def make_hosted(self, model: LoadedModel) -> HostedModel:
        """What ServeModel needs of a model that can run online. Takes long; from any thread."""
        return self._hosts.make(model)

    def rows_in_use(self) -> dict[str, tuple[int, int]]:
        """Of each model's state tables: rows in use, and all. From any thread."""
        rows: dict[str, tuple[int, int]] = {}
        for model in self._hosts:  # one that is leaving may have the key of another one
            in_use, capacity = rows.get(model.key, (0, 0))
            rows[model.key] = in_use + model.rows.in_use, capacity + model.rows.capacity
        return rows

    def counts(self) -> dict[tuple[str, str], int]:
        """How many sessions are in memory, by key and fingerprint of their model. From any thread."""
        return self._residents.census.counts()

    @property
    def durability(self) -> Durability:
        """What a session outlives."""
        return self._keeper.durability

    def store_problem(self) -> str | None:
        """Why the state store keeps writes from being taken, or answered. From any thread."""
        return self._keeper.problem()

    def store_warning(self) -> str | None:
        """What is wrong with the state store, though writes are taken. From any thread."""
        return self._keeper.warning()

    def abandon(self, answers: Answers) -> None:
        """Answers unfinished operations with Draining, and does not apply them, or with StoreUnavailable those of which
        nobody can tell. Hands what was applied to the store.
        """
        given_up = self._lines.give_up()
        dropped = sum(isinstance(outcome, Draining) for _, outcome in given_up)
        if dropped:
            self._observer.happened(Happening.DROPPED_DRAINING, dropped)
        answers += given_up
        self._keeper.store_all()

    def _admit(self, ticket: Ticket) -> None:
        operation = ticket.operation
        tell = self._told_at_once.get(type(operation))
        if tell is not None:
            self._answers.append((ticket, tell(operation)))
            return
        key = self._keys.of(operation)
        if key not in self._lines:
            self._reception.expire_if_over(key)
        if type(operation) is GetSession and self._directory.knows(key, self._lines):
            self._answers.append((ticket, self._directory.view(key)))
        else:
            self._lines.add(key, ticket)

    def _ended(self, session_id: str, ticket: Ticket, outcome: object) -> None:
        """Answers an operation."""
        session = self._residents.live(session_id)
        if isinstance(outcome, Exception):
            note_refusal(session, ticket, outcome, self._observer, now_seconds=self._clock())
        self._answers.append((ticket, outcome))
        if session is not None and type(ticket.operation) in _USES:
            self._residents.touch(session)
            self._keeper.refresh_expiry(session)
