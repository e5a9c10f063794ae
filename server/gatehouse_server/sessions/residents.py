"""The sessions in memory: live ones in the state table, others packed, least recently used first in both."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from gatehouse_server.sessions.census import Census
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.record import Head, decode_head, describe, encode_head, pack, parts_of, unpack
from gatehouse_server.sessions.reviving import revive
from gatehouse_server.sessions.session import Session
from gatehouse_server.sessions.shelf import Packed, Shelf
from gatehouse_server.sessions.stored import Stored
from gatehouse_server.sessions.tape import chunk_numbers

_EXACT_SECONDS = 0.5
"""A store that knows a session's expiry by more than this too early or too late is told again."""
_SOONEST_SECONDS = 0.02
"""A session that is due and busy is looked at again after this long."""


class Residents:
    """Moves sessions between the state table and packed memory. Used by the engine thread alone, except `len`.

    `note` hears of sessions that the store has to be told of; `busy` is what has operations under way: such sessions
    stay where they are.
    """

    def __init__(
        self,
        *,
        hosts: Hosts,
        limits: SessionLimits,
        stores: bool,
        stores_tapes: bool,
        busy: Container[str],
        note: Callable[[str], None],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._hosts = hosts
        self._limits = limits
        self._stores = stores
        self._stores_tapes = stores_tapes
        self._busy = busy
        self._note = note
        self._clock = clock
        self._wall_clock = wall_clock
        self._live: OrderedDict[str, Session] = OrderedDict()
        self._packed = Shelf()
        self.census = Census()

    def __len__(self) -> int:
        return len(self._live) + len(self._packed)

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._live or session_id in self._packed

    def __iter__(self) -> Iterator[str]:
        yield from self._live
        yield from self._packed

    @property
    def live_count(self) -> int:
        """How many are in the state table."""
        return len(self._live)

    @property
    def packed_count(self) -> int:
        """How many are packed."""
        return len(self._packed)

    @property
    def packed_bytes(self) -> int:
        """What the packed ones take."""
        return self._packed.size_bytes

    def live(self, session_id: str) -> Session | None:
        """The session, if it is in the state table."""
        return self._live.get(session_id)

    def packed(self, session_id: str) -> Packed | None:
        """The session, if it is packed."""
        return self._packed.get(session_id)

    def keep(
        self, head: Head, content: bytes, *, stored: Stored | None, expires_seconds: float | None = None
    ) -> None:
        """Takes in a session that is new, or comes from the store and expires when it would have there."""
        if expires_seconds is None:
            expires_seconds = self._clock() + self._limits.idle_seconds
        self._packed.put(head.session_id, self._entry(expires_seconds, content, stored, head.revision))
        self.census.add(head.model, head.fingerprint)

    def is_stored(self, session_id: str) -> None:
        """The store has all of a packed session now."""
        entry = self._shelved(session_id)
        assert entry.stored is not None
        stored = self._entry(entry.expires_seconds, entry.content, entry.stored, entry.stored.revision)
        self._packed.put(session_id, stored._replace(conflict=entry.conflict))

    def make_room(self) -> bool:
        """Whether there is room for one more live session, after packing the least recently used one if need be."""
        if len(self._live) < self._limits.max_live_sessions:
            return True
        for session_id in self._live:
            if session_id not in self._busy:
                self._rest(self._live[session_id])
                return True
        return False

    def wake(self, session_id: str) -> Session:
        """Brings a packed session into the state table, in which there has to be room.

        Raises SessionDamaged and ModelNotLoaded, and leaves it packed.
        """
        entry = self._shelved(session_id)
        head_bytes, parts = unpack(entry.content)
        head = decode_head(head_bytes)
        session = revive(
            head,
            parts,
            self._hosts.serving(head.model, head.fingerprint),
            session_id=session_id,
            expires_seconds=entry.expires_seconds,
        )
        session.conflict = entry.conflict
        if self._stores:
            session.stored = entry.stored or _all_stored(session, head, entry.stored_expires_unix_seconds)
        self._packed.take(session_id)
        self._live[session_id] = session
        return session

    def touch(self, session: Session) -> None:
        """Postpones the session's expiry: it was used now."""
        # Never sooner than was told: one that came from another process may have been given a little more.
        expires_seconds = self._clock() + self._limits.idle_seconds
        if expires_seconds > session.expires_seconds:
            session.expires_seconds = expires_seconds
        self._live.move_to_end(session.session_id)

    def drop(self, session_id: str) -> None:
        """Lets go of a session, live or packed."""
        session = self._live.pop(session_id, None)
        if session is None:
            head = self._shelved(session_id).head()
            self._packed.take(session_id)
            self.census.remove(head.model, head.fingerprint)
        else:
            self.census.remove(session.model.key, session.model.fingerprint)
            session.let_go()
            session.gone = True

    def unstored(self, session_id: str) -> Head | None:
        """The head of a session in memory that the store has no record of, without what goes with it in parts."""
        session, packed = self._live.get(session_id), self._packed.get(session_id)
        if session is not None and session.stored is not None and not session.stored.exists:
            head = describe(session)[0]
        elif packed is not None and packed.stored is not None and not packed.stored.exists:
            head = packed.head()
        else:
            return None
        return replace(head, writes=(), checkpoints=(), begin=head.position)

    def incarnation(self, session_id: str) -> int:
        """The life that a session is in."""
        session = self._live.get(session_id)
        if session is not None:
            return session.incarnation
        return self._shelved(session_id).head().incarnation

    def origin(self, session_id: str) -> tuple[str | None, str]:
        """The request that made a session, and on which model."""
        session = self._live.get(session_id)
        if session is not None:
            return session.request_id, session.model.key
        head = self._shelved(session_id).head()
        return head.request_id, head.model

    def is_over(self, session_id: str) -> bool:
        """Whether a session in memory is past its time. `expired` finds most such, in the order of their use."""
        session = self._live.get(session_id)
        if session is not None:
            return session.expires_seconds <= self._clock()
        packed = self._packed.get(session_id)
        return packed is not None and packed.expires_seconds <= self._clock()

    def expired(self, most: int) -> list[str]:
        """Up to `most` of each kind whose time is up and that have nothing to do."""
        now = self._clock()
        due: list[str] = []
        for sessions in (_ends(self._live.items()), _ends(self._packed.items())):
            for session_id, expires_seconds in islice(sessions, most):
                if expires_seconds > now:
                    break
                if session_id not in self._busy:
                    due.append(session_id)
        return due

    def rest(self, most: int) -> int:
        """Packs up to `most` live sessions that were not used for a while; how many."""
        oldest_seconds = self._clock() + self._limits.idle_seconds - self._limits.rest_seconds
        resting: list[Session] = []
        for session_id, session in self._live.items():
            if session.expires_seconds > oldest_seconds or len(resting) == most:
                break
            if session_id not in self._busy:
                resting.append(session)
        for session in resting:
            self._rest(session)
        return len(resting)

    def move_out(self, most: int) -> int:
        """Lets go of up to `most` packed sessions beyond the limit that the store has all of; how many."""
        beyond = len(self) - self._limits.max_resident_sessions
        if not self._stores or beyond <= 0:
            return 0
        leaving: list[str] = []
        for looked_at, (session_id, entry) in enumerate(self._packed.items()):
            if len(leaving) == min(beyond, most) or looked_at == 4 * most:
                break
            if not entry.unsaved and session_id not in self._busy:
                leaving.append(session_id)
        for session_id in leaving:
            self.drop(session_id)
        return len(leaving)

    def next_expiry_seconds(self) -> float | None:
        """In how long the next session is due to expire; absent when there are none."""
        due = [session.expires_seconds for session in islice(self._live.values(), 1)]
        due += [entry.expires_seconds for _, entry in islice(self._packed.items(), 1)]
        return max(0.0, min(due) - self._clock()) if due else None

    def next_change_seconds(self) -> float | None:
        """In how long the next session is due to rest or to expire; absent when there are none."""
        now = self._clock()
        rest_sooner_seconds = max(0.0, self._limits.idle_seconds - self._limits.rest_seconds)
        due = [session.expires_seconds - rest_sooner_seconds for session in islice(self._live.values(), 1)]
        due += [entry.expires_seconds for _, entry in islice(self._packed.items(), 1)]
        return max(_SOONEST_SECONDS, min(due) - now) if due else None

    def _rest(self, session: Session) -> None:
        stored = session.stored
        if stored is not None and stored.exists:
            # From here it may leave memory, and then the store alone knows how long it lives.
            expires_unix_seconds = self._wall_clock() + session.expires_seconds - self._clock()
            if abs(expires_unix_seconds - stored.expires_unix_seconds) > _EXACT_SECONDS:
                stored.outlived = True
                self._note(session.session_id)
        head, states = describe(session)
        parts = parts_of(session.model, states, session.tape)
        entry = self._entry(
            session.expires_seconds, pack(encode_head(head), parts), session.stored, session.revision
        )
        del self._live[session.session_id]
        session.let_go()
        session.gone = True
        if session.conflict is not None and session.conflict[0]() is not None:
            entry = entry._replace(conflict=session.conflict)
        self._packed.put(session.session_id, entry)

    def _entry(self, expires_seconds: float, content: bytes, stored: Stored | None, revision: int) -> Packed:
        unsaved = stored is not None and not stored.has_all_of(revision)
        return Packed(
            expires_seconds=expires_seconds,
            content=content,
            unsaved=unsaved,
            stored=stored if unsaved or not self._stores_tapes else None,
            stored_expires_unix_seconds=0.0 if stored is None else stored.expires_unix_seconds,
        )

    def _shelved(self, session_id: str) -> Packed:
        packed = self._packed.get(session_id)
        assert packed is not None, "only asked of packed sessions"
        return packed


def _ends(
    sessions: Iterable[tuple[str, Session]] | Iterable[tuple[str, Packed]],
) -> Iterator[tuple[str, float]]:
    for session_id, session in sessions:
        yield session_id, session.expires_seconds


def _all_stored(session: Session, head: Head, expires_unix_seconds: float) -> Stored:
    """The books of a session of which the store has everything."""
    numbers = chunk_numbers(session.tape.begin, session.tape.end, session.tape.chunk_steps)
    return Stored(
        exists=True,
        revision=session.revision,
        states=head.state_numbers,
        clean_steps=session.position,
        chunks=(numbers.start, numbers.stop),
        expires_unix_seconds=expires_unix_seconds,
    )
