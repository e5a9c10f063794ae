"""How sessions are found, wherever they are, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.errors import SessionDamaged, SessionNotFound, StoreUnavailable
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.keeper import Keeper
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.lost import LostSessions, gone
from gatehouse_server.sessions.record import decode_head, encode_head, pack
from gatehouse_server.sessions.residents import Residents
from gatehouse_server.sessions.results import SessionView
from gatehouse_server.sessions.reviving import check_model
from gatehouse_server.sessions.session import Session
from gatehouse_server.sessions.steps import Running, Wait
from gatehouse_server.sessions.stored import Stored
from gatehouse_server.sessions.tape import chunk_numbers
from gatehouse_server.sessions.views import state_of, state_of_packed, view
from gatehouse_server.stores.port import StoredSession, Summary, Tombstone

_log = structlog.get_logger(__name__)

_MOST_EXPIRED_AT_ONCE = 128
"""More would hold up a turn of the engine for milliseconds."""


class Reception:
    """Used by the engine thread."""

    def __init__(
        self,
        *,
        hosts: Hosts,
        residents: Residents,
        keeper: Keeper,
        lost: LostSessions,
        limits: SessionLimits,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._hosts = hosts
        self._residents = residents
        self._keeper = keeper
        self._lost = lost
        self._limits = limits
        self._observer = observer
        self._clock = clock

    # --- Finding --------------------------------------------------------------------------------------

    def live(self, session_id: str) -> Session | None:
        """The session, if it is in the state table already: `present` without the detour."""
        return self._residents.live(session_id)

    def present(self, session_id: str) -> Running[Session]:
        """The session in the state table, brought there from wherever it is.

        Raises SessionNotFound with what became of it, ModelNotLoaded, SessionDamaged, StoreUnavailable.
        """
        while True:
            session = self._residents.live(session_id)
            if session is not None:
                return session
            if session_id in self._residents and not self._residents.make_room():
                yield Wait.FOR_ROOM
                continue
            try:
                if session_id in self._residents:
                    session = self._residents.wake(session_id)
                    self._observer.happened(Happening.SESSION_WOKEN)
                    return session
                yield from self.fetch(session_id)
            except SessionDamaged as damage:
                _log.error("a session cannot be read", session_id=session_id, problem=damage.message)
                raise SessionDamaged(
                    f"session {session_id!r} cannot be read: {damage.message}. Delete it and begin anew, or have "
                    "the state store restored from a backup"
                ) from damage

    def afresh(self, session: Session) -> Running[Session]:
        """The session, after making sure that no other process has taken it over meanwhile."""
        if (yield from self._keeper.still_has(session)):
            return session
        if self._residents.live(session.session_id) is session:
            self._residents.drop(session.session_id)
            self._observer.happened(Happening.SESSION_MOVED)
        return (yield from self.present(session.session_id))

    def current(self, session_id: str) -> Running[Session]:
        """As `present`; where servers share a store, after making sure that none has taken the session over. While
        the store does not answer, as it is in memory.
        """
        session = yield from self.present(session_id)
        if not self._keeper.shared:
            return session
        try:
            return (yield from self.afresh(session))
        except StoreUnavailable:
            if session.gone:
                raise
            return session

    def fetch(self, session_id: str) -> Running[None]:
        """Takes a session from the store into memory.

        Raises SessionNotFound with what became of it, ModelNotLoaded, SessionDamaged, StoreUnavailable.
        """
        if not self._keeper.keeps:
            raise self.lost(session_id)
        there = yield from self._keeper.claim(session_id)
        if not isinstance(there, StoredSession):
            raise self.lost(session_id, there)
        self._lost.forget(session_id)  # another server may have made it go on
        summary = there.summary
        head = decode_head(there.head)
        was_ours = head.incarnation == summary.incarnation
        if self._keeper.is_over(summary, was_ours=was_ours):
            expired = Tombstone(why="SESSION_EXPIRED")
            yield from self._keeper.remove(session_id, expired, incarnation=summary.incarnation)
            self._observer.happened(Happening.SESSION_EXPIRED)
            raise gone(session_id, expired)
        if session_id in self._residents:
            return
        model = self._hosts.serving(head.model, head.fingerprint)
        check_model(head, model)
        numbers = chunk_numbers(head.begin, head.position, model.tape_type.chunk_steps)
        stored = Stored(
            exists=True,
            revision=head.revision,
            states=head.state_numbers,
            clean_steps=head.position,
            chunks=(numbers.start, numbers.stop),
            expires_unix_seconds=summary.expires_unix_seconds,
        )
        if not was_ours:
            self._observer.happened(Happening.SESSION_RECOVERED)
            head = replace(head, incarnation=summary.incarnation, refused=False)
            # The store is to know of the new life, and until when it is told to last.
            stored.outlived = True
            self._keeper.note(session_id)
        self._residents.keep(
            head,
            pack(encode_head(head), there.parts),
            stored=stored,
            expires_seconds=self._keeper.expires_seconds(summary, was_ours=was_ours),
        )

    # --- Ending ---------------------------------------------------------------------------------------

    def end(self, session_id: str, tombstone: Tombstone) -> Running[None]:
        """Ends a session wherever it is. Raises SessionNotFound, unless this very request ended it before."""
        there: Summary | Tombstone | None = None
        if self._keeper.keeps:
            head = self._residents.unstored(session_id)
            if head is not None:
                # What the store never had it would not remember either, but how one before of that name ended.
                yield from self._keeper.create(head, {})
            there = yield from self._keeper.remove(session_id, tombstone)
        if session_id in self._residents:
            self._residents.drop(session_id)
        elif not isinstance(there, Summary):
            if tombstone.request_id is not None and tombstone in (self._lost.find(session_id), there):
                return
            raise self.lost(session_id, there)
        self._lost.remember(session_id, tombstone)
        self._observer.happened(
            Happening.SESSION_EVICTED if tombstone.why == "SESSION_EVICTED" else Happening.SESSION_DELETED
        )

    def expire(self) -> None:
        """Ends the sessions in memory whose time is up."""
        for session_id in self._residents.expired(_MOST_EXPIRED_AT_ONCE):
            self._expire(session_id)
        self._lost.forget_old()

    def expire_if_over(self, session_id: str) -> None:
        """Ends a session in memory if its time is up. It must not have operations under way."""
        if self._residents.is_over(session_id):
            self._expire(session_id)

    def _expire(self, session_id: str) -> None:
        incarnation = self._residents.incarnation(session_id)
        self._residents.drop(session_id)
        self._lost.remember(session_id, Tombstone(why="SESSION_EXPIRED"))
        self._keeper.erase_expired(session_id, incarnation)
        self._observer.happened(Happening.SESSION_EXPIRED)

    def view_of(self, session: Session) -> SessionView:
        """A live session with its limits."""
        expires_in_seconds = max(0.0, session.expires_seconds - self._clock())
        return view(
            session.session_id,
            session.model.key,
            state_of(session, expires_in_seconds=expires_in_seconds),
            self._limits,
            self._keeper.durability,
        )

    def view_in_memory(self, session_id: str) -> SessionView:
        """A session in memory with its limits."""
        session = self._residents.live(session_id)
        if session is not None:
            return self.view_of(session)
        packed = self._residents.packed(session_id)
        assert packed is not None, "asked of sessions in memory only"
        head = packed.head()
        state = state_of_packed(
            packed,
            head,
            keeps=self._keeper.keeps,
            expires_in_seconds=max(0.0, packed.expires_seconds - self._clock()),
        )
        return view(session_id, head.model, state, self._limits, self._keeper.durability)

    def lost(self, session_id: str, there: Tombstone | None = None) -> SessionNotFound:
        """The error for a session that is nowhere; `there` is what the store says of its end. Where servers share a
        store, that comes before what is remembered here: the session may have gone on elsewhere.
        """
        here = self._lost.find(session_id)
        return gone(session_id, (there or here) if self._keeper.shared else (here or there))
