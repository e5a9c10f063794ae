"""What has to reach the state store, and when: noted sessions go there together, a moment later.

While the store does not answer, the same sessions stay noted, so that only their last state is written when it is back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog

from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.errors import SessionMoved, StoreUnavailable
from gatehouse_server.sessions.backlog import Backlog
from gatehouse_server.sessions.changes import Draft, draft_live, draft_packed, read_rows
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.keeping import Keeping
from gatehouse_server.sessions.lifetimes import Lifetimes
from gatehouse_server.sessions.residents import Residents
from gatehouse_server.sessions.session import Session
from gatehouse_server.sessions.steps import Running, StoreStep
from gatehouse_server.sessions.store_health import StoreHealth
from gatehouse_server.sessions.stored import Stored
from gatehouse_server.stores.port import StoreFailure, Summary
from gatehouse_server.stores.worker import MOST_AT_ONCE, StoreWorker

_log = structlog.get_logger(__name__)


class WriteBehind:
    """Used by the engine thread. `made` hears of each record that was made."""

    def __init__(
        self,
        *,
        worker: StoreWorker,
        residents: Residents,
        hosts: Hosts,
        keeping: Keeping,
        lifetimes: Lifetimes,
        backlog: Backlog,
        health: StoreHealth,
        made: Callable[[], None],
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._worker = worker
        self._residents = residents
        self._hosts = hosts
        self._keeping = keeping
        self._lifetimes = lifetimes
        self._backlog = backlog
        self._health = health
        self._made = made
        self._observer = observer
        self._clock = clock
        self._landing = 0
        self._failed = False
        self._next_flush_seconds = 0.0

    @property
    def due_seconds(self) -> float | None:
        """When `flush` has something to do."""
        return self._next_flush_seconds if self._backlog.has_noted and not self._landing else None

    def flush(self, now: float) -> None:
        """Hands over what is noted, when it is time."""
        due_seconds = self.due_seconds
        if due_seconds is not None and now >= due_seconds:
            self._hand_over(now)

    def hand_over_all(self) -> None:
        """Hands over everything that the store may not have, for the end of the process."""
        self._worker.last_ones()
        for draft in self._backlog.drafts():
            # Nobody will hear whether it lands: it goes there once more, and holds in either case.
            draft.failed()
            self._backlog.note(draft.summary.session_id)
        self._backlog.note_again()  # what failed beside some of these
        while self._backlog.has_noted:
            self._hand_over(self._clock())

    def store_now(self, session: Session) -> Running[None]:
        """Stores a session and waits for it (sync). Raises StoreUnavailable or SessionMoved; the copy in memory is
        dropped then.
        """
        if self._backlog.is_under_way(session.session_id):
            # What is under way lands before anything sent after it.
            yield StoreStep(partial(self._worker.call, "wait", lambda _: None), changes=True)
            if session.gone:
                raise _taken_over(session)
        self._backlog.forget(session.session_id)
        draft = draft_live(session, self._summary(session), keeps_tape=self._keeping.keeps_tapes)
        read_rows([draft])
        try:
            with self._backlog.awaited():
                outcome: Summary | None = yield StoreStep(
                    partial(self._worker.apply, draft.change()), changes=True
                )
        except StoreUnavailable as failure:
            self._health.fails(failure.message)
            self._drop(session.session_id, draft.stored)
            raise
        self._health.works()
        if not draft.is_of(outcome):
            self._moved(session.session_id, draft.stored)
            raise _taken_over(session)
        if outcome != draft.summary:
            self._went_back(draft)
            yield from self.store_now(session)
        else:
            draft.landed()

    def _hand_over(self, now: float) -> None:
        self._next_flush_seconds = now + self._keeping.interval_seconds
        self._failed = False
        drafts: list[Draft] = []
        while self._backlog.has_noted and len(drafts) < MOST_AT_ONCE:
            session_id, since_seconds = self._backlog.take()
            draft = self._draft(session_id)
            if draft is not None:
                drafts.append(draft)
                self._backlog.hand_over(draft, since_seconds)
        if not drafts:
            self._health.nothing_waits()
        read_rows(drafts)
        self._landing += len(drafts)
        for draft in drafts:
            self._worker.apply(draft.change(), partial(self._landed, draft))

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
            owner=self._worker.owner,
            expires_unix_seconds=self._lifetimes.unix_seconds(packed.expires_seconds),
            keeps_tape=self._keeping.keeps_tapes,
            hosts=self._hosts,
        )

    def _summary(self, session: Session) -> Summary:
        return Summary(
            session_id=session.session_id,
            model=session.model.key,
            owner=self._worker.owner,
            incarnation=session.incarnation,
            revision=session.revision,
            position=session.position,
            expires_unix_seconds=self._lifetimes.unix_seconds(session.expires_seconds),
            request_id=session.request_id,
        )

    def _landed(self, draft: Draft, outcome: Summary | StoreFailure | None) -> None:
        session_id = draft.summary.session_id
        since_seconds = self._backlog.answered(draft)
        self._landing -= 1
        if since_seconds is None:
            pass  # what the session is was handed over behind it
        elif isinstance(outcome, StoreFailure):
            draft.failed()
            self._backlog.keep_aside(session_id, since_seconds)
            self._health.fails(str(outcome))
            self._wait_before_retry()
        elif not draft.is_of(outcome):
            self._moved(session_id, draft.stored)
        elif outcome != draft.summary:
            self._went_back(draft)
            self._backlog.keep_aside(session_id, since_seconds)
        else:
            if not draft.existed:
                self._made()
            draft.landed()
            packed = self._residents.packed(session_id)
            if (
                packed is not None
                and packed.stored is draft.stored
                and not self._backlog.is_noted(session_id)
            ):
                self._residents.is_stored(session_id)
            self._health.works()
        if not self._landing:
            self._backlog.note_again()
            self._health.tell_lag()

    def _went_back(self, draft: Draft) -> None:
        """The store lost what it had confirmed: its session is written as a whole."""
        _log.error("the state store went back", session_id=draft.summary.session_id)
        draft.met_another_record()

    def _wait_before_retry(self) -> None:
        """After a failure waits longer from time to time; once for all that failed together."""
        if not self._failed:
            self._failed = True
            self._next_flush_seconds = self._clock() + self._health.wait_longer()

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
            self._backlog.forget(session_id)


def _taken_over(session: Session) -> SessionMoved:
    return SessionMoved(
        f"another server has taken session {session.session_id!r} over. Nothing was applied; ask again"
    )
