"""How sessions come, are found, and go: making, waking, forking, exporting, ending them. All as operations."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace

from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.errors import (
    FieldViolation,
    InvalidInput,
    ModelMismatch,
    Overloaded,
    SessionDamaged,
    SessionExists,
    SessionNotFound,
)
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.keeper import Keeper
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.lost import LostSessions, gone
from gatehouse_server.sessions.operations import CreateSession, ExportSession, ForkSession, ImportSession
from gatehouse_server.sessions.record import (
    Head,
    decode_head,
    describe,
    encode_head,
    pack,
    parts_of,
    unpack,
)
from gatehouse_server.sessions.residents import Residents
from gatehouse_server.sessions.results import SessionExport, SessionView
from gatehouse_server.sessions.revisions import standing
from gatehouse_server.sessions.sealing import Sealer
from gatehouse_server.sessions.session import INITIAL_STATE, Session
from gatehouse_server.sessions.steps import Running, Wait
from gatehouse_server.sessions.stored import Stored
from gatehouse_server.sessions.tape import chunk_numbers
from gatehouse_server.sessions.views import state_of, state_of_head, state_of_packed, view
from gatehouse_server.sessions.work import Work
from gatehouse_server.sessions.writing import HeldRows, restored
from gatehouse_server.stores.port import StoredSession, Summary, Tombstone

SESSION_ID = re.compile(r"[!-~]{1,128}")
"""Printable ASCII without spaces."""

_ID_BYTES = 16

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
        sealer: Sealer,
        secret: bytes,
        new_incarnation: Callable[[], int],
        limits: SessionLimits,
        observer: Observer,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._hosts = hosts
        self._residents = residents
        self._keeper = keeper
        self._lost = lost
        self._sealer = sealer
        self._secret = secret
        self._new_incarnation = new_incarnation
        self._limits = limits
        self._observer = observer
        self._clock = clock
        self._wall_clock = wall_clock

    def new_id(self, chosen: str | None, request_id: str | None) -> str:
        """The identifier of a session to be made. Without a chosen one the same request gets the same one.

        Raises InvalidInput for a bad one.
        """
        if chosen is None:
            if request_id is None:
                return secrets.token_hex(_ID_BYTES)
            return hashlib.blake2b(request_id.encode(), key=self._secret, digest_size=_ID_BYTES).hexdigest()
        if not SESSION_ID.fullmatch(chosen):
            raise InvalidInput(
                f"session_id: {chosen[:140]!r} is not 1 to 128 printable ASCII characters without spaces",
                violations=(
                    FieldViolation(
                        field="session_id", description="1 to 128 printable ASCII characters without spaces"
                    ),
                ),
            )
        return chosen

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
                yield from self._fetch(session_id)
            except SessionDamaged as damage:
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

    def _fetch(self, session_id: str) -> Running[None]:
        """Takes a session from the store into memory."""
        if not self._keeper.keeps:
            raise gone(session_id, self._lost.find(session_id))
        there = yield from self._keeper.claim(session_id)
        if not isinstance(there, StoredSession):
            raise gone(session_id, self._lost.find(session_id) or there)
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
        tape = self._hosts.serving(head.model).tape_type
        numbers = chunk_numbers(head.begin, head.position, tape.chunk_steps)
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

    # --- Making ---------------------------------------------------------------------------------------

    def create(self, operation: CreateSession, session_id: str) -> Running[SessionView]:
        """A session in the initial state."""
        head = self._initial(self._hosts.get(operation.model))
        made = yield from self._make(head, {}, session_id, operation.request_id)
        self._observer.happened(Happening.SESSION_CREATED)
        return made

    def fork(self, operation: ForkSession, work: Work) -> Running[SessionView]:
        """A session like another one."""
        session_id = self.new_id(operation.new_session_id, operation.request_id)
        source = yield from self.present(operation.session_id)
        work.runs_on(source)
        at = source.position if operation.at is None else operation.at
        if not 0 <= at <= source.position:
            raise InvalidInput.of_field(
                "at",
                f"{at} is not on the tape, which goes from 0 to {source.position}",
                reason="POSITION_OUT_OF_RANGE",
                metadata=standing(source),
            )
        head, states = describe(source)
        tape = source.tape
        with HeldRows(source.model.rows) as rows:
            if at < source.position:
                row, number = yield from restored(source, at, rows, work)
                kept = tuple(checkpoint for checkpoint in head.checkpoints if checkpoint[0] <= at)
                head = replace(
                    head,
                    position=at,
                    begin=min(head.begin, at),
                    state_number=number,
                    next_number=source.next_number,
                    writes=(),
                    checkpoints=kept,
                )
                states = {
                    number_: where for number_, where in states.items() if number_ in head.state_numbers
                }
                if number != INITIAL_STATE:
                    states[number] = row
                tape = tape.copy(at)
            parts = parts_of(source.model, states, tape)
        made = yield from self._make(head, parts, session_id, operation.request_id)
        self._observer.happened(Happening.SESSION_FORKED)
        return made

    def export(self, operation: ExportSession) -> Running[SessionExport]:
        """A session as bytes."""
        session = yield from self.present(operation.session_id)
        head, states = describe(session)
        head = replace(head, session_id="", request_id=None)
        record = pack(encode_head(head), parts_of(session.model, states, session.tape))
        return SessionExport(blob=self._sealer.seal(record), view=self.view_of(session))

    def import_(self, operation: ImportSession, session_id: str) -> Running[SessionView]:
        """A session from bytes."""
        try:
            head_bytes, parts = unpack(self._sealer.open(operation.blob))
            head = decode_head(head_bytes)
        except SessionDamaged as error:
            raise InvalidInput.of_field("blob", error.message, reason="EXPORT_MALFORMED") from error
        model = self._hosts.get(head.model)
        if head.fingerprint != model.fingerprint:
            raise ModelMismatch(
                f"the session was exported from {head.model} with fingerprint {head.fingerprint[:12]}, and this server "
                f"has one with {model.fingerprint[:12]}: its state means nothing there",
                metadata={"model": head.model, "fingerprint": head.fingerprint},
            )
        made = yield from self._make(head, parts, session_id, operation.request_id)
        self._observer.happened(Happening.SESSION_IMPORTED)
        return made

    def make_for_suggestion(self, model: HostedModel, session_id: str) -> Running[Session]:
        """A session in the initial state that the store hears of later: its text can make it again."""
        self._check_place()
        head = replace(
            self._initial(model), session_id=session_id, incarnation=self._new_incarnation(), request_id=None
        )
        self._residents.keep(
            head, pack(encode_head(head), {}), stored=Stored() if self._keeper.keeps else None
        )
        self._lost.forget(session_id)
        self._observer.happened(Happening.SESSION_REBUILT)
        if self._keeper.keeps:
            self._keeper.note(session_id)
        return (yield from self.present(session_id))

    def _make(
        self, head: Head, parts: Mapping[str, bytes], session_id: str, request_id: str | None
    ) -> Running[SessionView]:
        """Takes in a new session; a repeated request is answered with the one that it made."""
        if session_id in self._residents:
            return (yield from self._made_before(session_id, request_id))
        ended = self._lost.find(session_id)
        if ended is not None and request_id is not None and session_id == self.new_id(None, request_id):
            raise gone(session_id, ended)  # the request is an old one: its session came and went
        self._check_place()
        head = replace(
            head,
            session_id=session_id,
            incarnation=self._new_incarnation(),
            request_id=request_id,
            refused=False,
        )
        stored = None
        if self._keeper.keeps:
            stood_there = yield from self._keeper.create(head, parts)
            if isinstance(stood_there, Summary):
                return (yield from self._made_before(session_id, request_id))
            stored = stood_there
        if session_id not in self._residents:  # or it was used already, while its creation was being stored
            self._residents.keep(head, pack(encode_head(head), parts), stored=stored)
        self._lost.forget(session_id)
        state = state_of_head(
            head,
            durable_revision=0 if stored is None else stored.revision,
            expires_in_seconds=self._limits.idle_seconds,
        )
        return view(session_id, head.model, state, self._limits, self._keeper.durability)

    def _made_before(self, session_id: str, request_id: str | None) -> Running[SessionView]:
        """Looked at where it lies: waiting for a slot of its own, a source might hold the one that comes free."""
        if session_id not in self._residents:
            yield from self._fetch(session_id)
        if request_id is None or self._residents.request_id(session_id) != request_id:
            raise SessionExists(
                f"there is a session {session_id} already; use it, or choose another identifier"
            )
        return self.view_in_memory(session_id)

    def _initial(self, model: HostedModel) -> Head:
        return Head(
            session_id="",
            model=model.key,
            fingerprint=model.fingerprint,
            incarnation=0,
            revision=0,
            position=0,
            begin=0,
            state_number=INITIAL_STATE,
            next_number=INITIAL_STATE + 1,
            writes=(),
            checkpoints=(),
            refused=False,
            request_id=None,
        )

    def _check_place(self) -> None:
        known = max(len(self._residents), self._keeper.known_sessions)
        if known >= self._limits.max_sessions:
            self._observer.happened(Happening.REFUSED_SESSIONS_FULL)
            due = self._residents.next_expiry_seconds()
            raise Overloaded(
                f"the server knows {known} sessions, as many as it may",
                reason="SESSIONS_FULL",
                retry_after_seconds=60.0 if due is None else min(60.0, max(1.0, due)),
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
            ended = self._lost.find(session_id)
            if tombstone.request_id is not None and tombstone in (ended, there):
                return
            raise gone(session_id, ended or there)
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

    def lost(self, session_id: str) -> SessionNotFound:
        """The error for a session that is nowhere."""
        return gone(session_id, self._lost.find(session_id))
