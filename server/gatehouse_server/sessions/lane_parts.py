"""What a lane of sessions is made of, and how the parts know each other."""

from __future__ import annotations

from collections.abc import Callable, Container

from gatehouse_server.engine.observer import Observer
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.copying import Copies
from gatehouse_server.sessions.directory import Directory
from gatehouse_server.sessions.hosting import Hosts, MakeBackend
from gatehouse_server.sessions.identifiers import Identifiers
from gatehouse_server.sessions.incarnations import Incarnations
from gatehouse_server.sessions.keeper import Keeper
from gatehouse_server.sessions.keeping import Keeping
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.lost import LostSessions
from gatehouse_server.sessions.making import Maker
from gatehouse_server.sessions.performing import Performance
from gatehouse_server.sessions.reception import Reception
from gatehouse_server.sessions.residents import Residents
from gatehouse_server.sessions.sealing import Sealer
from gatehouse_server.sessions.sequences import Sequences
from gatehouse_server.stores.worker import StoreWorker


class LaneParts:
    """The parts of one lane. `busy` has the sessions with an operation under way; `worker` is None without a store."""

    def __init__(
        self,
        *,
        registry: Registry,
        limits: SessionLimits,
        batching: OnlineBatching,
        observer: Observer,
        worker: StoreWorker | None,
        keeping: Keeping,
        incarnations: Incarnations,
        identifiers: Identifiers,
        sealer: Sealer,
        busy: Container[str],
        backend_of: MakeBackend,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self.hosts = Hosts(
            registry,
            limits=limits,
            batching=batching,
            observer=observer,
            clock=clock,
            backend_of=backend_of,
        )
        self.residents = Residents(
            hosts=self.hosts,
            limits=limits,
            stores=worker is not None,
            stores_tapes=keeping.keeps_tapes,
            busy=busy,
            note=lambda session_id: self.keeper.note(session_id),
            clock=clock,
            wall_clock=wall_clock,
        )
        self.keeper = Keeper(
            worker=worker,
            residents=self.residents,
            hosts=self.hosts,
            keeping=keeping,
            limits=limits,
            observer=observer,
            clock=clock,
            wall_clock=wall_clock,
        )
        lost = LostSessions(
            most=limits.remembered_lost_sessions, seconds=limits.remembered_lost_seconds, clock=clock
        )
        self.reception = Reception(
            hosts=self.hosts,
            residents=self.residents,
            keeper=self.keeper,
            lost=lost,
            limits=limits,
            observer=observer,
            clock=clock,
        )
        maker = Maker(
            hosts=self.hosts,
            residents=self.residents,
            keeper=self.keeper,
            lost=lost,
            reception=self.reception,
            identifiers=identifiers,
            new_incarnation=incarnations,
            limits=limits,
            observer=observer,
        )
        self.directory = Directory(
            residents=self.residents,
            keeper=self.keeper,
            reception=self.reception,
            limits=limits,
            clock=clock,
            wall_clock=wall_clock,
        )
        self.sequences = Sequences(
            hosts=self.hosts, reception=self.reception, keeper=self.keeper, limits=limits, observer=observer
        )
        self.performance = Performance(
            reception=self.reception,
            maker=maker,
            copies=Copies(
                hosts=self.hosts,
                reception=self.reception,
                maker=maker,
                identifiers=identifiers,
                sealer=sealer,
                observer=observer,
            ),
            directory=self.directory,
            sequences=self.sequences,
            hosts=self.hosts,
            keeper=self.keeper,
            observer=observer,
        )
