"""Plays the lives of sessions into a server and into the model of them at once: beginnings, ends, waits, restarts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gatehouse_server.errors import SessionExists, SessionNotFound
from gatehouse_server.sessions.operations import (
    CreateSession,
    DeleteSession,
    EvictSession,
    GetSession,
    InspectSession,
)
from gatehouse_server.sessions.results import SessionDeleted, SessionLine, SessionView

from tests.sessions.plain_networks import PlainNetwork
from tests.sessions.tape_model import TapeModel
from tests.sessions.tape_records import Standing
from tests.sessions.tape_replies import SeenBits, check_life_time, check_state
from tests.sessions.tape_server import TapeServer
from tests.sessions.tape_session import TapeSession

_SOON_SECONDS = 0.2


class Lives:
    """A server, the model of what its sessions must be, and counts of what happened. Raises AssertionError."""

    def __init__(
        self, server: TapeServer, model: TapeModel, networks: dict[str, PlainNetwork], counts: Counter[str]
    ) -> None:
        self.server = server
        self.model = model
        self.counts = counts
        self._networks = networks
        self._seen = SeenBits()

    def network(self, session: TapeSession) -> PlainNetwork:
        """The plain network of a session's model."""
        return self._networks[session.model]

    def create(self, session_id: str, model: str, *, request_id: str | None = None) -> None:
        """A new session; under a request_id the call may be repeated."""
        view = self._asked(CreateSession(model=model, session_id=session_id, request_id=request_id))
        if session_id in self.model.sessions:
            assert isinstance(view, SessionExists)
            self.counts["create over existing"] += 1
            return
        network = self._networks[model]
        session = self.model.make(session_id, model, takes_tokens=network.takes_tokens, standing=Standing())
        self._check_view(session, view, used=True)
        if request_id is not None:
            again = self._asked(CreateSession(model=model, session_id=session_id, request_id=request_id))
            self._check_view(session, again, used=False)

    def known(self, session_id: str) -> TapeSession | None:
        """The session, or None when it ended, which the server has to say too. Settles whether it has expired."""
        session = self.model.sessions.get(session_id)
        if session is None:
            self._check_lost(session_id)
        elif session.why_gone(self.model.now):
            return self.seen(session_id)
        return session

    def seen(self, session_id: str) -> TapeSession | None:
        """As `known`, after GetSession."""
        session = self.model.sessions.get(session_id)
        if session is None:
            self._check_lost(session_id)
            return None
        outcome = self._asked(GetSession(session_id=session_id))
        reasons = session.why_gone(self.model.now)
        if isinstance(outcome, SessionNotFound) and reasons:
            self.model.end(session_id, *reasons)
            self._check_ended(session_id, outcome)
            return None
        self._check_view(session, outcome, used=False)
        # One that the store had for longer than it was told may still end at once, now that it is looked at.
        return self.seen(session_id) if outcome.state.expires_in_seconds == 0.0 else session

    def tier(self, session_id: str) -> str:
        """Where the server has the session; looking doesn't wake it."""
        line = self._asked(InspectSession(session_id=session_id))
        assert isinstance(line, SessionLine), line
        session = self.model.sessions[session_id]
        if session.incarnation is not None:
            assert (line.incarnation, line.revision, line.position) == (
                session.incarnation,
                session.now.revision,
                session.now.position,
            )
        return line.tier

    def delete(self, session_id: str, *, request_id: str | None = None) -> None:
        """Ends a session; under a request_id the call may be repeated."""
        operation = DeleteSession(session_id=session_id, request_id=request_id)
        assert isinstance(self._asked(operation), SessionDeleted)
        self.model.end(session_id, "SESSION_DELETED")
        if request_id is not None:
            assert isinstance(self._asked(operation), SessionDeleted)
        self._check_ended(session_id, self._asked(DeleteSession(session_id=session_id)))

    def evict(self, session_id: str) -> None:
        """Ends a session as operators do."""
        outcome = self._asked(EvictSession(session_id=session_id))
        assert isinstance(outcome, SessionDeleted), outcome
        self.model.end(session_id, "SESSION_EVICTED")
        self._check_lost(session_id)

    def pass_time(self, seconds: float) -> None:
        """Nobody does anything for so long."""
        soon = min(seconds, _SOON_SECONDS)  # the store hears of uses before anything expires
        for part in (soon, seconds - soon):
            self.server.desk.now += part
            self._follow_clock()
            for _ in range(3):
                self.server.turn()

    def flush(self) -> None:
        """The store catches up."""
        self.server.flush()
        self._follow_clock()
        self.model.flushed()

    def restart(self, *, suddenly: bool) -> None:
        """The server begins again; `suddenly`, with what was not stored lost."""
        self.server.restart(suddenly=suddenly)
        self._follow_clock()
        self.model.restarted(suddenly=suddenly)
        self.counts["sudden restart" if suddenly else "orderly restart"] += 1

    def _asked(self, operation: Any) -> Any:
        (outcome,) = self.server.desk.ask(operation)
        self.server.desk.answers.clear()
        return outcome

    def _follow_clock(self) -> None:
        self.model.advance(self.server.desk.now - self.model.now)

    def _settle(self, session: TapeSession, revision: int) -> None:
        if session.settle(revision):
            self.counts["restart with lost writes"] += 1

    def _made(self, session_id: str, model: str, standing: Standing, view: Any) -> TapeSession:
        takes_tokens = self._networks[model].takes_tokens
        session = self.model.make(session_id, model, takes_tokens=takes_tokens, standing=standing)
        if self.model.keeping != "none":
            session.tell_durable(standing.revision)
        self._check_view(session, view, used=True)
        return session

    def _check_view(self, session: TapeSession, view: Any, *, used: bool) -> None:
        assert isinstance(view, SessionView), view
        self._settle(session, view.state.revision)
        assert (view.session_id, view.model) == (session.session_id, f"{session.model}@1")
        assert view.durability == self.model.keeping
        check_state(self.model, session, view.state)
        check_life_time(self.model, session, view.state, used=used)

    def _check_lost(self, session_id: str) -> None:
        if self.model.lost.get(session_id, True):
            self._check_ended(session_id, self._asked(GetSession(session_id=session_id)))

    def _check_ended(self, session_id: str, outcome: Any) -> None:
        assert isinstance(outcome, SessionNotFound), outcome
        reasons = self.model.lost.get(session_id, frozenset({"SESSION_UNKNOWN"}))
        assert outcome.reason in reasons, f"{outcome.reason}, and {set(reasons)} was expected"
        self.counts[outcome.reason] += 1
