"""The records of single sessions in the state store: made, taken over, looked at, removed. As steps of operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from gatehouse_server.sessions.backlog import Backlog
from gatehouse_server.sessions.changes import Draft, draft_new, without_tape
from gatehouse_server.sessions.keeping import Keeping
from gatehouse_server.sessions.lifetimes import Lifetimes
from gatehouse_server.sessions.record import Head, state_name
from gatehouse_server.sessions.session import Session
from gatehouse_server.sessions.steps import Running, StoreStep
from gatehouse_server.sessions.stored import Stored
from gatehouse_server.sessions.sweeping import Sweeper
from gatehouse_server.stores.port import SessionStore, StoredSession, Summary, Tombstone
from gatehouse_server.stores.worker import StoreWorker


class StoreRecords:
    """Used by the engine thread."""

    def __init__(
        self,
        *,
        worker: StoreWorker,
        keeping: Keeping,
        lifetimes: Lifetimes,
        backlog: Backlog,
        sweeper: Sweeper,
    ) -> None:
        self._worker = worker
        self._keeping = keeping
        self._lifetimes = lifetimes
        self._backlog = backlog
        self._sweeper = sweeper

    def create(self, head: Head, parts: Mapping[str, bytes]) -> Running[Stored | Summary]:
        """Stores a session that is new: its books, or the record that stands in its place."""
        draft = self._creation(head, parts)
        with self._backlog.awaited():
            outcome: Summary | None = yield StoreStep(
                partial(self._worker.apply, draft.change()), changes=True
            )
        assert outcome is not None, "a creation meets a record or becomes one"
        if not draft.is_of(outcome):
            return outcome
        draft.landed()
        self._sweeper.was_made()
        return draft.stored

    def claim(self, session_id: str) -> Running[StoredSession | Tombstone | None]:
        """Takes a session from the store."""
        there: StoredSession | Tombstone | None = yield StoreStep(partial(self._worker.claim, session_id))
        return there

    def look(self, session_id: str) -> Running[Summary | Tombstone | None]:
        """What the store can tell of a session without its being taken."""
        there: Summary | Tombstone | None = yield self._call(
            "look", lambda store: store.look((session_id,))[0]
        )
        return there

    def still_has(self, session: Session) -> Running[bool]:
        """Whether the session, of which there is a record, is still this process's."""
        there: Summary | Tombstone | None = yield from self.look(session.session_id)
        return (
            isinstance(there, Summary)
            and there.owner == self._worker.owner
            and there.incarnation == session.incarnation
        )

    def remove(
        self, session_id: str, tombstone: Tombstone, incarnation: int | None
    ) -> Running[Summary | Tombstone | None]:
        """Erases a session, or only that life of it; what stood there before."""
        there: Summary | Tombstone | None = None
        while True:
            with self._backlog.awaited():
                found: Summary | Tombstone | None = yield self._call(
                    "remove",
                    lambda store: store.remove(session_id, tombstone, incarnation=incarnation),
                    changes=True,
                )
            if isinstance(found, Summary):
                self._sweeper.was_removed()
            if not isinstance(there, Summary):
                there = found
            if not self._backlog.is_under_way(session_id):
                return there
            # What went to the store meanwhile may have made the record anew: it is removed behind that once more.

    def after(self, session_id: str, limit: int) -> Running[list[Summary]]:
        """A page of what the store has."""
        page: list[Summary] = yield self._call("list", lambda store: store.after(session_id, limit))
        return page

    def erase_expired(self, session_id: str, incarnation: int) -> None:
        """The session's time was up: the store should not have it either. If that fails, the next sweep finds it."""
        self._worker.call(
            "remove",
            lambda store: store.remove(session_id, Tombstone(why="SESSION_EXPIRED"), incarnation=incarnation),
            self._sweeper.was_erased,
        )

    def _call(self, kind: str, what: Callable[[SessionStore], object], *, changes: bool = False) -> StoreStep:
        return StoreStep(partial(self._worker.call, kind, what), changes=changes)

    def _creation(self, head: Head, parts: Mapping[str, bytes]) -> Draft:
        """What has to be written so that a new session is kept."""
        if not self._keeping.keeps_tapes:
            head = without_tape(head)
            names = {state_name(number) for number in head.state_numbers}
            parts = {name: part for name, part in parts.items() if name in names}
        return draft_new(
            head,
            parts,
            owner=self._worker.owner,
            expires_unix_seconds=self._lifetimes.new_unix_seconds,
        )
