"""Between the sessions in memory and the state store: what operations ask of it, and what it does by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.errors import StoreUnavailable
from gatehouse_server.sessions.backlog import Backlog
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.keeping import Keeping
from gatehouse_server.sessions.lifetimes import Lifetimes
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.record import Head
from gatehouse_server.sessions.residents import Residents
from gatehouse_server.sessions.results import Durability
from gatehouse_server.sessions.session import Session
from gatehouse_server.sessions.steps import Running
from gatehouse_server.sessions.store_health import StoreHealth
from gatehouse_server.sessions.store_records import StoreRecords
from gatehouse_server.sessions.stored import Stored
from gatehouse_server.sessions.sweeping import SWEEP_SECONDS, Sweeper
from gatehouse_server.sessions.write_behind import WriteBehind
from gatehouse_server.stores.port import StoredSession, Summary, Tombstone
from gatehouse_server.stores.worker import StoreWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class _Store:
    """What there is where there is a store."""

    worker: StoreWorker
    records: StoreRecords
    write_behind: WriteBehind
    sweeper: Sweeper


class Keeper:
    """Used by the engine thread. Without a worker nothing is kept, and the store is asked nothing."""

    def __init__(
        self,
        *,
        worker: StoreWorker | None,
        residents: Residents,
        hosts: Hosts,
        keeping: Keeping,
        limits: SessionLimits,
        observer: Observer,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._keeping = keeping
        self._observer = observer
        self._clock = clock
        self._backlog = backlog = Backlog(clock)
        self._lifetimes = lifetimes = Lifetimes(limits=limits, clock=clock, wall_clock=wall_clock)
        self._health = health = StoreHealth(keeping, backlog)
        self._store: _Store | None = None
        if worker is not None:
            sweeper = Sweeper(
                worker=worker,
                lifetimes=lifetimes,
                health=health,
                observer=observer,
                clock=clock,
            )
            self._store = _Store(
                worker=worker,
                records=StoreRecords(
                    worker=worker, keeping=keeping, lifetimes=lifetimes, backlog=backlog, sweeper=sweeper
                ),
                write_behind=WriteBehind(
                    worker=worker,
                    residents=residents,
                    hosts=hosts,
                    keeping=keeping,
                    lifetimes=lifetimes,
                    backlog=backlog,
                    health=health,
                    made=sweeper.was_made,
                    observer=observer,
                    clock=clock,
                ),
                sweeper=sweeper,
            )

    @property
    def durability(self) -> Durability:
        """What a session outlives."""
        return self._keeping.durability

    @property
    def keeps(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    @property
    def shared(self) -> bool:
        """Whether other processes may take sessions over."""
        return self._store is not None and self._store.worker.shared

    @property
    def known_sessions(self) -> int:
        """How many sessions the store has, as far as that is known."""
        return 0 if self._store is None else self._store.sweeper.known_sessions

    @property
    def unsaved_sessions(self) -> int:
        """See `Backlog.sessions`."""
        return self._backlog.sessions

    @property
    def lag_seconds(self) -> float:
        """See `Backlog.lag_seconds`."""
        return self._backlog.lag_seconds

    def problem(self) -> str | None:
        """Why writes are refused, or not answered. From any thread."""
        return self._health.problem()

    def warning(self) -> str | None:
        """What is wrong with the store. From any thread."""
        return self._health.warning()

    # --- What operations do ---------------------------------------------------------------------------

    def check_lag(self) -> None:
        """Before a write. Raises StoreUnavailable when too much is waiting for the store (async)."""
        if self._keeping.durability == "async" and self._backlog.lag_seconds > self._keeping.max_lag_seconds:
            self._observer.happened(Happening.REFUSED_STORE_LAGGING)
            raise StoreUnavailable(
                f"the state store has not taken anything for {self._backlog.lag_seconds:.0f} s, and at most "
                f"{self._keeping.max_lag_seconds:.0f} s may be at risk. Nothing was applied; send it again",
                reason="STORE_LAGGING",
            )

    def commit(self, session: Session) -> Running[None]:
        """After a write was applied in memory: notes it, or in sync mode stores it.

        Raises StoreUnavailable or SessionMoved in sync mode; the copy in memory is dropped then, so that the session
        is what the store has of it, whatever that turns out to be.
        """
        if self._keeping.durability == "async":
            self._backlog.note(session.session_id)
        elif self._keeping.durability == "sync":
            yield from self._live_store.write_behind.store_now(session)

    def note(self, session_id: str) -> None:
        """The session has something that the store does not have."""
        self._backlog.note(session_id)

    def refresh_expiry(self, session: Session) -> None:
        """The session was used: makes sure that the store does not take it for an idle one."""
        stored = session.stored
        if stored is not None and stored.exists and self._lifetimes.is_told_late(stored):
            stored.outlived = True
            self._backlog.note(session.session_id)

    def is_over(self, summary: Summary, *, was_ours: bool) -> bool:
        """See `Lifetimes.is_over`."""
        return self._lifetimes.is_over(summary, was_ours=was_ours)

    def expires_seconds(self, summary: Summary, *, was_ours: bool) -> float:
        """See `Lifetimes.expires_seconds`."""
        return self._lifetimes.expires_seconds(summary, was_ours=was_ours)

    def create(self, head: Head, parts: Mapping[str, bytes]) -> Running[Stored | Summary]:
        """See `StoreRecords.create`."""
        return self._live_store.records.create(head, parts)

    def claim(self, session_id: str) -> Running[StoredSession | Tombstone | None]:
        """See `StoreRecords.claim`."""
        return self._live_store.records.claim(session_id)

    def look(self, session_id: str) -> Running[Summary | Tombstone | None]:
        """See `StoreRecords.look`."""
        return self._live_store.records.look(session_id)

    def still_has(self, session: Session) -> Running[bool]:
        """Whether the session is still this process's."""
        if session.stored is None or not session.stored.exists:
            return True
        return (yield from self._live_store.records.still_has(session))

    def remove(
        self, session_id: str, tombstone: Tombstone, *, incarnation: int | None = None
    ) -> Running[Summary | Tombstone | None]:
        """See `StoreRecords.remove`."""
        return self._live_store.records.remove(session_id, tombstone, incarnation)

    def after(self, session_id: str, limit: int) -> Running[list[Summary]]:
        """See `StoreRecords.after`."""
        return self._live_store.records.after(session_id, limit)

    def erase_expired(self, session_id: str, incarnation: int) -> None:
        """See `StoreRecords.erase_expired`."""
        if self._store is not None:
            self._store.records.erase_expired(session_id, incarnation)

    # --- What happens by itself -----------------------------------------------------------------------

    def housekeep(self) -> None:
        """Stores what is noted, when it is time; has the store let go of what expired."""
        store = self._store
        if store is None:
            return
        now = self._clock()
        self._health.tell_lag()
        store.write_behind.flush(now)
        if now >= store.sweeper.due_seconds:
            # Else sessions may have been used without the store's knowing.
            is_told = not self._health.retry_seconds and self._backlog.lag_seconds < SWEEP_SECONDS
            store.sweeper.sweep(now, is_told=is_told)

    def next_seconds(self) -> float | None:
        """In how long `housekeep` has something to do."""
        if self._store is None:
            return None
        due = self._store.sweeper.due_seconds
        flush_seconds = self._store.write_behind.due_seconds
        if flush_seconds is not None:
            due = min(due, flush_seconds)
        return max(0.0, due - self._clock())

    def store_all(self) -> None:
        """See `WriteBehind.hand_over_all`."""
        if self._store is not None:
            self._store.write_behind.hand_over_all()

    @property
    def _live_store(self) -> _Store:
        assert self._store is not None, "only asked where there is a store"
        return self._store
