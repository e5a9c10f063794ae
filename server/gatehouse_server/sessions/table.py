"""All sessions by identifier, least recently used first, and a bounded memory of those that ended."""

from __future__ import annotations

import re
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Literal

from gatehouse_server.errors import FieldViolation, InvalidInput, Overloaded, SessionExists, SessionNotFound
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.session import Session

Ending = Literal["SESSION_EXPIRED", "SESSION_DELETED"]

SESSION_ID = re.compile(r"[!-~]{1,128}")
"""Printable ASCII without spaces."""

_WHY_GONE = {
    "SESSION_EXPIRED": "it was not used for longer than the server keeps idle sessions",
    "SESSION_DELETED": "it was deleted",
}


class SessionTable:
    """Finds, makes and ends sessions. Used by the engine thread alone, except `len`."""

    def __init__(
        self,
        *,
        limits: SessionLimits,
        clock: Callable[[], float],
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._wall_clock_ns = wall_clock_ns
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._by_request: dict[str, Session] = {}
        self._lost: OrderedDict[str, tuple[Ending, float]] = OrderedDict()
        self._last_incarnation = 0
        self.by_model: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session_id: str) -> Session:
        """The session. Raises SessionNotFound with what became of it."""
        session = self._sessions.get(session_id)
        if session is None:
            raise self._gone(session_id)
        return session

    def find(self, session_id: str) -> Session | None:
        """The session, if there is one."""
        return self._sessions.get(session_id)

    def made_by(self, request_id: str) -> Session | None:
        """The session that a request made, if it still is."""
        return self._by_request.get(request_id)

    def create(
        self, model: HostedModel, *, session_id: str | None = None, request_id: str | None = None
    ) -> Session:
        """A new session in the initial state. Raises SessionExists, InvalidInput for a bad identifier, Overloaded."""
        if session_id is None:
            session_id = secrets.token_hex(16)
        elif not SESSION_ID.fullmatch(session_id):
            raise InvalidInput(
                f"session_id: {session_id[:140]!r} is not 1 to 128 printable ASCII characters without spaces",
                violations=(
                    FieldViolation(
                        field="session_id", description="1 to 128 printable ASCII characters without spaces"
                    ),
                ),
            )
        if session_id in self._sessions:
            raise SessionExists(
                f"there is a session {session_id} already; use it, or choose another identifier"
            )
        if len(self._sessions) >= self._limits.max_sessions:
            raise Overloaded(
                f"the server holds {len(self._sessions)} sessions, as many as it may",
                reason="SESSIONS_FULL",
                retry_after_seconds=self._until_a_place_is_free(),
            )
        session = Session(
            session_id=session_id,
            model=model,
            incarnation=self._next_incarnation(),
            expires_seconds=self._clock() + self._limits.idle_seconds,
            request_id=request_id,
        )
        self._sessions[session_id] = session
        self.by_model[model.key] += 1
        self._lost.pop(session_id, None)
        if request_id is not None:
            self._by_request[request_id] = session
        return session

    def touch(self, session: Session) -> None:
        """Postpones the session's expiry: it was used now."""
        session.expires_seconds = self._clock() + self._limits.idle_seconds
        self._sessions.move_to_end(session.session_id)

    def end(self, session: Session, why: Ending) -> None:
        """Ends a session and remembers why."""
        del self._sessions[session.session_id]
        self.by_model[session.model.key] -= 1
        if session.request_id is not None:
            del self._by_request[session.request_id]
        session.let_go()
        self._lost[session.session_id] = (why, self._clock())
        if len(self._lost) > self._limits.remembered_lost_sessions:
            self._lost.popitem(last=False)

    def expired(self) -> list[Session]:
        """Sessions whose time is up and that have nothing to do; also forgets sessions lost long ago."""
        now = self._clock()
        while self._lost:
            _, (_, lost_seconds) = next(iter(self._lost.items()))
            if lost_seconds + self._limits.remembered_lost_seconds > now:
                break
            self._lost.popitem(last=False)
        due = []
        for session in self._sessions.values():
            if session.expires_seconds > now:
                break
            if not session.busy and not session.waiting:
                due.append(session)
        return due

    def next_expiry_seconds(self) -> float | None:
        """In how long the next session is due; absent when there are none."""
        for session in self._sessions.values():
            return max(0.0, session.expires_seconds - self._clock())
        return None

    def _next_incarnation(self) -> int:
        """Never repeats, also not after a restart of the server: microseconds of the wall clock, made to rise."""
        self._last_incarnation = max(self._last_incarnation + 1, self._wall_clock_ns() // 1000)
        return self._last_incarnation

    def _until_a_place_is_free(self) -> float:
        """When to try again: the next expiry, but no sooner than a second and no later than a minute."""
        due = self.next_expiry_seconds()
        return 60.0 if due is None else min(60.0, max(1.0, due))

    def _gone(self, session_id: str) -> SessionNotFound:
        lost = self._lost.get(session_id)
        if lost is None:
            return SessionNotFound(
                f"there is no session {session_id[:140]!r}: it never was, or it ended so long ago that the server "
                "cannot tell. Create one",
                reason="SESSION_UNKNOWN",
            )
        return SessionNotFound(
            f"session {session_id!r} is gone: {_WHY_GONE[lost[0]]}. Create a new one", reason=lost[0]
        )
