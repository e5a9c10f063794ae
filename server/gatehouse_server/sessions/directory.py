"""What is told of sessions without using them: to their clients one by one, to operators all of them."""

from __future__ import annotations

from collections.abc import Callable, Container

from gatehouse_server.errors import StoreUnavailable
from gatehouse_server.sessions.keeper import Keeper
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import ListStored
from gatehouse_server.sessions.reception import Reception
from gatehouse_server.sessions.residents import Residents
from gatehouse_server.sessions.results import (
    ResidentIds,
    SessionLine,
    SessionLines,
    SessionState,
    SessionView,
)
from gatehouse_server.sessions.steps import Running
from gatehouse_server.sessions.views import line, state_of, state_of_packed, state_of_summary, view
from gatehouse_server.stores.port import Summary, Tombstone


class Directory:
    """Used by the engine thread. Nothing here postpones a session's expiry."""

    def __init__(
        self,
        *,
        residents: Residents,
        keeper: Keeper,
        reception: Reception,
        limits: SessionLimits,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._residents = residents
        self._keeper = keeper
        self._reception = reception
        self._limits = limits
        self._clock = clock
        self._wall_clock = wall_clock

    def knows(self, session_id: str, busy: Container[str]) -> bool:
        """Whether `view` can tell of a session now. In sync mode not while a write may yet turn out not to hold; where
        servers share a store, never: another one may have taken the session over.
        """
        if self._keeper.shared:
            return False
        if self._keeper.durability == "sync" and session_id in busy:
            return False
        return session_id in self._residents

    def view(self, session_id: str) -> SessionView:
        """Where a session in memory stands."""
        return self._reception.view_in_memory(session_id)

    def find(self, session_id: str) -> Running[SessionView]:
        """Where a session stands, wherever it is. One that only this process can have is brought into memory, since
        its record can tell more than its summary.
        """
        if not self._keeper.shared:
            if session_id in self._residents:
                return self.view(session_id)
            return self._reception.view_of((yield from self._reception.present(session_id)))
        try:
            there = yield from self._keeper.look(session_id)
        except StoreUnavailable:
            if session_id not in self._residents:
                raise
            return self.view(session_id)
        if self._is_here(session_id, there):
            return self.view(session_id)
        if not isinstance(there, Summary):
            raise self._reception.lost(session_id, there)
        return self._view(
            session_id, there.model, state_of_summary(there, now_unix_seconds=self._wall_clock())
        )

    def residents(self) -> ResidentIds:
        """All sessions in memory."""
        return ResidentIds(session_ids=tuple(self._residents))

    def describe(self, session_ids: tuple[str, ...]) -> SessionLines:
        """A line on each of some sessions in memory."""
        lines = (self._line(session_id) for session_id in session_ids)
        return SessionLines(lines=tuple(line for line in lines if line is not None))

    def inspect(self, session_id: str) -> Running[SessionLine]:
        """A line on one session, wherever it is."""
        found = self._line(session_id)
        return found if found is not None else self._stored_line((yield from self._look(session_id)))

    def stored(self, operation: ListStored) -> Running[SessionLines]:
        """The next page of the store; `last` is absent when that was all."""
        if not self._keeper.keeps:
            return SessionLines(lines=())
        page = yield from self._keeper.after(operation.after, operation.limit)
        return SessionLines(
            lines=tuple(self._stored_line(summary) for summary in page),
            last=page[-1].session_id if len(page) == operation.limit else None,
        )

    def _is_here(self, session_id: str, there: Summary | Tombstone | None) -> bool:
        """Whether the session in memory is the one that the store tells of, or has yet to hear of."""
        if session_id not in self._residents:
            return False
        if isinstance(there, Summary):
            return there.incarnation == self._residents.incarnation(session_id)
        return self._residents.unstored(session_id) is not None

    def _look(self, session_id: str) -> Running[Summary]:
        if not self._keeper.keeps:
            raise self._reception.lost(session_id)
        there = yield from self._keeper.look(session_id)
        if isinstance(there, Summary):
            return there
        raise self._reception.lost(session_id, there)

    def _line(self, session_id: str) -> SessionLine | None:
        session = self._residents.live(session_id)
        if session is not None:
            size_bytes = session.held_rows * session.model.engine.bytes_per_row
            size_bytes += sum(checkpoint.state.nbytes for checkpoint in session.checkpoints)
            size_bytes += (session.tape.end - session.tape.begin) * session.tape.step_bytes
            state = state_of(session, expires_in_seconds=self._expires_in(session.expires_seconds))
            model = session.model
            return line(session_id, model.key, state, "live", size_bytes, model.fingerprint)
        packed = self._residents.packed(session_id)
        if packed is None:
            return None
        head = packed.head()
        state = state_of_packed(
            packed,
            head,
            keeps=self._keeper.keeps,
            expires_in_seconds=self._expires_in(packed.expires_seconds),
        )
        return line(session_id, head.model, state, "host", len(packed.content), head.fingerprint)

    def _stored_line(self, summary: Summary) -> SessionLine:
        state = state_of_summary(summary, now_unix_seconds=self._wall_clock())
        return line(summary.session_id, summary.model, state, "store", summary.size_bytes)

    def _view(self, session_id: str, model: str, state: SessionState) -> SessionView:
        return view(session_id, model, state, self._limits, self._keeper.durability)

    def _expires_in(self, expires_seconds: float) -> float:
        return max(0.0, expires_seconds - self._clock())
