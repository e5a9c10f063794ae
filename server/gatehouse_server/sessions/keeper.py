"""Between the sessions in memory and the state store: what is written when, and what the store is asked.

In async mode a changed session is noted, and what is noted goes to the store together a moment later. While the
store does not answer, the same sessions stay noted, so that only their last state is written when it is back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

import structlog

from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.errors import SessionMoved, StoreUnavailable
from gatehouse_server.sessions.changes import (
    Draft,
    draft_live,
    draft_new,
    draft_packed,
    read_rows,
    without_tape,
)
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.record import Head, state_name
from gatehouse_server.sessions.residents import Residents
from gatehouse_server.sessions.results import Durability
from gatehouse_server.sessions.session import Session
from gatehouse_server.sessions.steps import Running, StoreStep
from gatehouse_server.sessions.stored import Stored
from gatehouse_server.stores.port import SessionStore, StoredSession, StoreFailure, Summary, Tombstone
from gatehouse_server.stores.worker import MOST_AT_ONCE, StoreWorker

_log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS = 0.1
_LAST_RETRY_SECONDS = 2.0
_SWEEP_SECONDS = 10.0
_SWEEP_WHILE_FAILING_SECONDS = 1.0
_MOST_EXPIRED_AT_ONCE = 1000
_UNTOLD_SHARE = 1 / 60
"""How much of its idle time a session may gain by being used without the store being told."""
_CLOCK_JUMP_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How sessions are kept: see the settings of these names."""

    durability: Durability = "none"
    interval_seconds: float = 0.05
    max_lag_seconds: float = 60.0
    keeps_tapes: bool = True


class Keeper:
    """Used by the engine thread. Without a worker nothing is kept, and only `durability` may be asked."""

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
        self._worker = worker
        self._residents = residents
        self._hosts = hosts
        self._keeping = keeping
        self._limits = limits
        self._observer = observer
        self._clock = clock
        self._wall_clock = wall_clock
        self._unsaved: OrderedDict[str, float] = OrderedDict()
        self._under_way: OrderedDict[str, tuple[float, Draft]] = OrderedDict()
        self._not_stored: list[tuple[str, float]] = []
        self._landing = 0
        self._failed = False
        self._retry_seconds = 0.0
        self._next_flush_seconds = 0.0
        self._grace_began_seconds = clock()
        self._ahead_seconds = wall_clock() - clock()
        self._next_sweep_seconds = self._grace_began_seconds
        self._erased = False
        self._known_sessions = 0
        self._told_lag_seconds = 0.0
        self._last_failure: str | None = None
        self._count_failed = False

    @property
    def durability(self) -> Durability:
        """What a session outlives."""
        return self._keeping.durability

    @property
    def keeps(self) -> bool:
        """Whether there is a store."""
        return self._worker is not None

    @property
    def shared(self) -> bool:
        """Whether other processes may take sessions over."""
        return self._worker is not None and self._worker.shared

    @property
    def known_sessions(self) -> int:
        """How many sessions the store has, as far as that is known."""
        return self._known_sessions

    @property
    def unsaved_sessions(self) -> int:
        """How many sessions have something that the store does not have; one that changed while it was being stored
        counts twice.
        """
        return len(self._unsaved) + len(self._under_way)

    @property
    def lag_seconds(self) -> float:
        """For how long the oldest change has been waiting to be stored."""
        oldest = [since_seconds for _, since_seconds in self._not_stored[:1]]
        oldest += [since_seconds for since_seconds, _ in islice(self._under_way.values(), 1)]
        oldest += islice(self._unsaved.values(), 1)
        return max(0.0, self._clock() - min(oldest)) if oldest else 0.0

    def problem(self) -> str | None:
        """Why writes are refused. From any thread."""
        failure = self._last_failure
        if self._keeping.durability == "sync" and failure is not None:
            return f"fails, and writes are refused until it works: {failure}"
        lag_seconds = self._told_lag_seconds
        if self._keeping.durability == "async" and lag_seconds > self._keeping.max_lag_seconds:
            return f"has not taken anything for {lag_seconds:.0f} s; writes are refused until it does"
        return None

    def warning(self) -> str | None:
        """What is wrong with the store. From any thread."""
        failure = self._last_failure
        return None if failure is None else f"fails: {failure}"

    @property
    def in_grace(self) -> bool:
        """Whether the server started so recently that nobody may have been able to use a session."""
        return self._clock() < self.grace_ends_seconds

    @property
    def grace_ends_seconds(self) -> float:
        """Until when that is so."""
        return self._grace_began_seconds + self._limits.grace_seconds

    # --- What operations do ---------------------------------------------------------------------------

    def check_lag(self) -> None:
        """Before a write. Raises StoreUnavailable when too much is waiting for the store (async)."""
        if self._keeping.durability == "async" and self.lag_seconds > self._keeping.max_lag_seconds:
            self._observer.happened(Happening.REFUSED_STORE_LAGGING)
            raise StoreUnavailable(
                f"the state store has not taken anything for {self.lag_seconds:.0f} s, and at most "
                f"{self._keeping.max_lag_seconds:.0f} s may be at risk. Nothing was applied; send it again",
                reason="STORE_LAGGING",
            )

    def commit(self, session: Session) -> Running[None]:
        """After a write was applied in memory: notes it, or in sync mode stores it.

        Raises StoreUnavailable or SessionMoved in sync mode; the copy in memory is dropped then, so that the session
        is what the store has of it, whatever that turns out to be.
        """
        if self._keeping.durability == "async":
            self.note(session.session_id)
        elif self._keeping.durability == "sync":
            yield from self._store_now(session)

    def note(self, session_id: str) -> None:
        """The session has something that the store does not have."""
        if session_id not in self._unsaved:
            self._unsaved[session_id] = self._clock()

    def refresh_expiry(self, session: Session) -> None:
        """The session was used: makes sure that the store does not take it for an idle one."""
        stored = session.stored
        if stored is None or not stored.exists:
            return
        late = self._wall_clock() + self._limits.idle_seconds * (1 - _UNTOLD_SHARE)
        if stored.expires_unix_seconds < late:
            stored.outlived = True
            self.note(session.session_id)

    def is_over(self, summary: Summary, *, was_ours: bool) -> bool:
        """Whether the time of a stored session is up."""
        return self.expires_seconds(summary, was_ours=was_ours) <= self._clock()

    def expires_seconds(self, summary: Summary, *, was_ours: bool) -> float:
        """When a stored session's time is up, by the clock of this process. What it let go of itself it told the store
        exactly; another process may have let it be used since, and told its client so.
        """
        left_seconds = summary.expires_unix_seconds - self._wall_clock()
        if not was_ours:
            idle_seconds = self._limits.idle_seconds
            left_seconds = min(left_seconds + idle_seconds * _UNTOLD_SHARE, idle_seconds)
        return max(self._clock() + left_seconds, self.grace_ends_seconds)

    @property
    def _over_unix_seconds(self) -> float:
        return self._wall_clock() - self._limits.idle_seconds * _UNTOLD_SHARE

    def create(self, head: Head, parts: Mapping[str, bytes]) -> Running[Stored | Summary]:
        """Stores a session that is new: its books, or the record that stands in its place."""
        draft = self._creation(head, parts)
        outcome: Summary | None = yield StoreStep(partial(self._live_worker.apply, draft.change()))
        assert outcome is not None, "a creation meets a record or becomes one"
        if not _is_of(outcome, draft.summary):
            return outcome
        draft.landed()
        self._known_sessions += 1
        return draft.stored

    def claim(self, session_id: str) -> Running[StoredSession | Tombstone | None]:
        """Takes a session from the store."""
        there: StoredSession | Tombstone | None = yield StoreStep(
            partial(self._live_worker.claim, session_id)
        )
        return there

    def look(self, session_id: str) -> Running[Summary | Tombstone | None]:
        """What the store can tell of a session without its being taken."""
        there: Summary | Tombstone | None = yield self._call(
            "look", lambda store: store.look((session_id,))[0]
        )
        return there

    def still_has(self, session: Session) -> Running[bool]:
        """Whether the session is still this process's."""
        if session.stored is None or not session.stored.exists:
            return True
        there: Summary | Tombstone | None = yield from self.look(session.session_id)
        return (
            isinstance(there, Summary)
            and there.owner == self._live_worker.owner
            and there.incarnation == session.incarnation
        )

    def remove(
        self, session_id: str, tombstone: Tombstone, *, incarnation: int | None = None
    ) -> Running[Summary | Tombstone | None]:
        """Erases a session, or only that life of it; what stood there before."""
        there: Summary | Tombstone | None = None
        while True:
            found: Summary | Tombstone | None = yield self._call(
                "remove", lambda store: store.remove(session_id, tombstone, incarnation=incarnation)
            )
            if isinstance(found, Summary):
                self._known_sessions -= 1
                self._erased = True
            if not isinstance(there, Summary):
                there = found
            if session_id not in self._under_way:
                return there
            # What went to the store meanwhile may have made the record anew: it is removed behind that once more.

    def after(self, session_id: str, limit: int) -> Running[list[Summary]]:
        """A page of what the store has."""
        page: list[Summary] = yield self._call("list", lambda store: store.after(session_id, limit))
        return page

    def erase_expired(self, session_id: str, incarnation: int) -> None:
        """The session's time was up: the store should not have it either. If that fails, the next sweep finds it."""
        if self._worker is None:
            return
        self._worker.call(
            "remove",
            lambda store: store.remove(session_id, Tombstone(why="SESSION_EXPIRED"), incarnation=incarnation),
            self._was_erased,
        )

    # --- What happens by itself -----------------------------------------------------------------------

    def housekeep(self) -> None:
        """Stores what is noted, when it is time; has the store let go of what expired."""
        if self._worker is None:
            return
        now = self._clock()
        self._told_lag_seconds = self.lag_seconds
        if self._unsaved and not self._landing and now >= self._next_flush_seconds:
            self._flush(now)
        if now >= self._next_sweep_seconds:
            self._next_sweep_seconds = now + _SWEEP_SECONDS
            self._sweep()

    def next_seconds(self) -> float | None:
        """In how long `housekeep` has something to do."""
        if self._worker is None:
            return None
        due = self._next_sweep_seconds
        if self._unsaved and not self._landing:
            due = min(due, self._next_flush_seconds)
        return max(0.0, due - self._clock())

    def store_all(self) -> None:
        """Hands everything that is noted to the worker, for the end of the process."""
        for _, draft in self._under_way.values():
            draft.failed()  # nobody will hear of it: what comes after it holds whether it lands or not
        while self._unsaved and self._worker is not None:
            self._flush(self._clock())

    # --- Inside ---------------------------------------------------------------------------------------

    @property
    def _live_worker(self) -> StoreWorker:
        assert self._worker is not None, "only asked where there is a store"
        return self._worker

    def _call(self, kind: str, what: Callable[[SessionStore], object]) -> StoreStep:
        return StoreStep(partial(self._live_worker.call, kind, what))

    def _creation(self, head: Head, parts: Mapping[str, bytes]) -> Draft:
        """What has to be written so that a new session is kept."""
        if not self._keeping.keeps_tapes:
            head = without_tape(head)
            names = {state_name(number) for number in head.state_numbers}
            parts = {name: part for name, part in parts.items() if name in names}
        return draft_new(
            head,
            parts,
            owner=self._live_worker.owner,
            expires_unix_seconds=self._expires_unix(self._clock() + self._limits.idle_seconds),
        )

    def _summary(self, session: Session) -> Summary:
        """A session as the store sums it up."""
        return Summary(
            session_id=session.session_id,
            model=session.model.key,
            owner=self._live_worker.owner,
            incarnation=session.incarnation,
            revision=session.revision,
            position=session.position,
            expires_unix_seconds=self._expires_unix(session.expires_seconds),
            request_id=session.request_id,
        )

    def _store_now(self, session: Session) -> Running[None]:
        if session.session_id in self._under_way:
            yield self._call("wait", lambda _: None)  # what is under way lands before anything sent after it
            if session.gone:
                raise _taken_over(session)
        self._unsaved.pop(session.session_id, None)
        draft = draft_live(session, self._summary(session), keeps_tape=self._keeping.keeps_tapes)
        read_rows([draft])
        try:
            outcome: Summary | None = yield StoreStep(partial(self._live_worker.apply, draft.change()))
        except StoreUnavailable as failure:
            self._noticed(failure.message)
            self._drop(session.session_id, draft.stored)
            raise
        self._noticed(None)
        if not _is_of(outcome, draft.summary):
            self._moved(session.session_id, draft.stored)
            raise _taken_over(session)
        if outcome != draft.summary:
            self._went_back(draft)
            yield from self._store_now(session)
        else:
            draft.landed()

    def _flush(self, now: float) -> None:
        self._next_flush_seconds = now + self._keeping.interval_seconds
        self._failed = False
        drafts: list[Draft] = []
        while self._unsaved and len(drafts) < MOST_AT_ONCE:
            session_id, since_seconds = self._unsaved.popitem(last=False)
            draft = self._draft(session_id)
            if draft is not None:
                drafts.append(draft)
                self._under_way[session_id] = since_seconds, draft
        if not drafts:
            self._retry_seconds = 0.0  # what could not be stored has ended: nothing waits any more
        read_rows(drafts)
        self._landing += len(drafts)
        for draft in drafts:
            self._live_worker.apply(draft.change(), partial(self._landed, draft))

    def _draft(self, session_id: str) -> Draft | None:
        """What is to be stored of a session; nothing when it ended meanwhile, or is another one that is stored."""
        session = self._residents.live(session_id)
        if session is not None:
            return draft_live(session, self._summary(session), keeps_tape=self._keeping.keeps_tapes)
        packed = self._residents.packed(session_id)
        if packed is None or packed.stored is None:
            return None
        return draft_packed(
            packed,
            owner=self._live_worker.owner,
            expires_unix_seconds=self._expires_unix(packed.expires_seconds),
            keeps_tape=self._keeping.keeps_tapes,
            hosts=self._hosts,
        )

    def _landed(self, draft: Draft, outcome: Summary | StoreFailure | None) -> None:
        session_id = draft.summary.session_id
        since_seconds, _ = self._under_way.pop(session_id)
        self._landing -= 1
        if isinstance(outcome, StoreFailure):
            draft.failed()
            self._not_stored.append((session_id, since_seconds))
            self._noticed(str(outcome))
            self._wait_before_retry()
        elif _is_of(outcome, draft.summary) and outcome != draft.summary:
            self._went_back(draft)
            self._not_stored.append((session_id, since_seconds))
        elif _is_of(outcome, draft.summary):
            if not draft.existed:
                self._known_sessions += 1
            draft.landed()
            packed = self._residents.packed(session_id)
            if packed is not None and packed.stored is draft.stored and session_id not in self._unsaved:
                self._residents.is_stored(session_id)
            self._noticed(None)
        else:
            self._moved(session_id, draft.stored)
        if not self._landing:
            self._note_again()
            self._told_lag_seconds = self.lag_seconds

    def _went_back(self, draft: Draft) -> None:
        """The store lost what it had confirmed: its session is written as a whole."""
        _log.error("the state store went back", session_id=draft.summary.session_id)
        draft.met_another_record()

    def _note_again(self) -> None:
        """What was not stored has been waiting for longer than anything noted since; first the longest."""
        while self._not_stored:
            session_id, since_seconds = self._not_stored.pop()
            self._unsaved[session_id] = since_seconds
            self._unsaved.move_to_end(session_id, last=False)

    def _noticed(self, failure: str | None) -> None:
        """Takes note of whether the store works."""
        if failure is None:
            if self._last_failure is not None:
                _log.info("the state store works again", unsaved_sessions=self.unsaved_sessions)
            self._retry_seconds = 0.0
        elif self._last_failure is None:
            _log.error("the state store fails", problem=failure)
        self._last_failure = failure

    def _wait_before_retry(self) -> None:
        """After a failure waits longer from time to time; once for all that failed together."""
        if not self._failed:
            self._failed = True
            self._retry_seconds = min(_LAST_RETRY_SECONDS, self._retry_seconds * 2 or _FIRST_RETRY_SECONDS)
            self._next_flush_seconds = self._clock() + self._retry_seconds

    def _moved(self, session_id: str, stored: Stored) -> None:
        self._observer.happened(Happening.SESSION_MOVED)
        self._drop(session_id, stored)

    def _drop(self, session_id: str, stored: Stored) -> None:
        """Lets go of the copy in memory, if it is still the one that was stored."""
        session, packed = self._residents.live(session_id), self._residents.packed(session_id)
        if (session is not None and session.stored is stored) or (
            packed is not None and packed.stored is stored
        ):
            self._residents.drop(session_id)
            self._unsaved.pop(session_id, None)

    def _sweep(self) -> None:
        worker = self._live_worker
        self._notice_clock()
        if not self.in_grace and not self._retry_seconds and self.lag_seconds < _SWEEP_SECONDS:
            # Otherwise sessions may have been used without the store's knowing.
            over_unix = self._over_unix_seconds
            worker.call(
                "expire", lambda store: store.expire(over_unix, _MOST_EXPIRED_AT_ONCE), self._was_swept
            )
        if self._erased:
            self._erased = False
            worker.call("scrub", lambda store: store.scrub(), self._was_scrubbed)
        worker.call("count", lambda store: store.count(), self._was_counted)

    def _notice_clock(self) -> None:
        """When the wall clock was set forward, or all stood still, sessions get the time that a restart gives them."""
        ahead_seconds = self._wall_clock() - self._clock()
        if ahead_seconds > self._ahead_seconds + _CLOCK_JUMP_SECONDS:
            _log.warning("the clock went forward", seconds=round(ahead_seconds - self._ahead_seconds))
            self._grace_began_seconds = self._clock()
        self._ahead_seconds = ahead_seconds

    def _was_swept(self, outcome: int | StoreFailure) -> None:
        if isinstance(outcome, int) and outcome:
            self._erased = True
            self._observer.happened(Happening.SESSION_EXPIRED, outcome)
            if outcome == _MOST_EXPIRED_AT_ONCE:
                self._next_sweep_seconds = self._clock()

    def _was_erased(self, outcome: object) -> None:
        self._erased = self._erased or isinstance(outcome, Summary)

    def _was_scrubbed(self, outcome: object) -> None:
        self._erased = self._erased or isinstance(outcome, StoreFailure)

    def _was_counted(self, outcome: int | StoreFailure) -> None:
        """Counting also tells whether the store works, when nobody writes."""
        if isinstance(outcome, int):
            self._known_sessions = outcome
            if self._count_failed or self._keeping.durability == "sync":
                self._noticed(None)
            self._count_failed = False
        else:
            self._noticed(str(outcome))
            self._count_failed = True
            self._next_sweep_seconds = self._clock() + _SWEEP_WHILE_FAILING_SECONDS

    def _expires_unix(self, expires_seconds: float) -> float:
        return self._wall_clock() + expires_seconds - self._clock()


def _is_of(outcome: Summary | None, ours: Summary) -> bool:
    """Whether the store stands as this process left it."""
    return outcome is not None and outcome.owner == ours.owner and outcome.incarnation == ours.incarnation


def _taken_over(session: Session) -> SessionMoved:
    return SessionMoved(
        f"another server has taken session {session.session_id!r} over. Nothing was applied; ask again"
    )
