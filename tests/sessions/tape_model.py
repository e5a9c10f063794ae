"""What a server's sessions must be, in plain Python: those that live and those that ended."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from tests.sessions.tape_records import Standing
from tests.sessions.tape_session import TapeSession

GRACE_SECONDS = 300.0
"""So long a session lives at least after a restart."""

UNTOLD_SHARE = 1 / 60
"""A session that only the store has may live longer by so much of its idle time: the store is not told of each use."""

Keeping = Literal["none", "async", "sync"]


@dataclass(slots=True, kw_only=True)
class TapeModel:
    """All sessions of a server, and those that ended, with the reasons that may be told of them (none: anything)."""

    keeping: Keeping
    idle_seconds: float
    now: float
    sessions: dict[str, TapeSession] = field(default_factory=dict)
    lost: dict[str, frozenset[str]] = field(default_factory=dict)
    incarnations: dict[str, int] = field(default_factory=dict)
    restarts: int = 0

    def make(self, session_id: str, model: str, *, takes_tokens: bool, standing: Standing) -> TapeSession:
        """A session begins: created, forked, imported or made anew from a text."""
        assert session_id not in self.sessions
        self.lost.pop(session_id, None)
        session = TapeSession(
            session_id=session_id,
            model=model,
            takes_tokens=takes_tokens,
            past_incarnation=self.incarnations.get(session_id, 0),
            earliest_end=self.now + self.idle_seconds,
            latest_end=self.now + self.idle_seconds,
            standings=[standing],
        )
        self.sessions[session_id] = session
        return session

    def inherit(self, source: TapeSession, at: int) -> Standing:
        """The standing of a session forked from another one's position `at`, or imported."""
        shortened = at < source.now.position
        recent = tuple(
            replace(accepted, inherited=accepted.inherited or shortened) for accepted in source.now.recent
        )
        return replace(source.now, tape=source.now.tape[:at], recent=recent, floor=source.floor_after(at, at))

    def end(self, session_id: str, *reasons: str) -> None:
        """A session is no more, for one of the reasons."""
        del self.sessions[session_id]
        self.lost[session_id] = frozenset(reasons)

    def advance(self, seconds: float) -> None:
        """Time passes; sessions whose time is surely up end."""
        self.now += seconds
        for session in list(self.sessions.values()):
            if session.latest_end + UNTOLD_SHARE * self.idle_seconds <= self.now:
                # What never reached the store leaves its tombstone there as it was.
                self.end(session.session_id, "SESSION_EXPIRED", *(session.unstored or ()))

    def flushed(self) -> None:
        """All that was answered so far outlives the server."""
        if self.keeping != "none":
            for session in self.sessions.values():
                if not session.crashed:
                    session.tell_durable(session.now.revision)
                    session.unstored = None

    def restarted(self, *, suddenly: bool) -> None:
        """The server began again: sessions come back in a new life, or are unknown where nothing keeps them."""
        self.restarts += 1
        if not suddenly:
            self.flushed()
        for session_id, session in list(self.sessions.items()):
            if self.keeping == "none":
                self.end(session_id, "SESSION_UNKNOWN")
                continue
            if session.incarnation is not None:
                session.past_incarnation = session.incarnation
            session.incarnation, session.told_oldest = None, None
            session.crashed, session.refusing = True, "no"
            session.maybe_expired = session.maybe_expired or session.earliest_end <= self.now
            grace = self.now + min(GRACE_SECONDS, self.idle_seconds)
            session.earliest_end = grace if suddenly else max(grace, session.earliest_end)
            session.latest_end = self.now + self.idle_seconds
        if self.keeping == "none":
            self.lost = dict.fromkeys(self.lost, frozenset({"SESSION_UNKNOWN"}))
        elif suddenly:  # whether an expiry had reached the store is nobody's promise
            self.lost = {
                session_id: frozenset() if "SESSION_EXPIRED" in reasons else reasons
                for session_id, reasons in self.lost.items()
            }
