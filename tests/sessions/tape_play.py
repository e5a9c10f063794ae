"""All that is played into a server: lives, writes, and copies of sessions, made while they are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gatehouse_server.errors import GatehouseError, SessionExists, SessionNotFound
from gatehouse_server.sessions.operations import (
    DeleteSession,
    EvictSession,
    ExportSession,
    ForkSession,
    ImportSession,
)
from gatehouse_server.sessions.results import SessionDeleted, SessionExport, SessionView

from tests.sessions.tape_records import Asked, Standing
from tests.sessions.tape_session import TapeSession
from tests.sessions.tape_writes import Writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A session as bytes, and what it has to become again."""

    blob: bytes
    source_id: str
    source_incarnation: int
    model: str
    standing: Standing


class Play(Writes):
    """Writes on sessions that are also copied, and end while they compute."""

    def fork(self, source: TapeSession, new_id: str, at: int | None, *, request_id: str | None) -> bool:
        """Whether a fork was made."""
        operation = ForkSession(
            session_id=source.session_id, new_session_id=new_id, at=at, request_id=request_id
        )
        made = self._forked(source, operation, self._asked(operation))
        if made is not None and request_id is not None:
            self._check_view(made, self._asked(operation), used=False)
        return made is not None

    def fork_between(self, before: Asked, new_id: str, after: Asked) -> None:
        """A fork in the middle of a pipeline has what was written before it, and nothing of what comes after."""
        source = self.model.sessions[before.session_id]
        source.breathe()
        operation = ForkSession(session_id=source.session_id, new_session_id=new_id)
        desk = self.server.desk
        first, view, last = desk.ask(self._operation(before), operation, self._operation(after))
        self._check_written(before, first, "live")
        assert self._forked(source, operation, view) is not None
        self._check_written(after, last, "live")
        self.counts["fork in a pipeline"] += 1

    def export(self, source: TapeSession) -> Exported:
        """The session as bytes."""
        outcome = self._asked(ExportSession(session_id=source.session_id))
        assert isinstance(outcome, SessionExport), outcome
        self._settle(source, outcome.view.state.revision)
        self._check_view(source, outcome.view, used=False)
        source.latest_end = self.model.now + self.model.idle_seconds
        assert source.incarnation is not None
        return Exported(
            blob=outcome.blob,
            source_id=source.session_id,
            source_incarnation=source.incarnation,
            model=source.model,
            standing=self.model.inherit(source, source.now.position),
        )

    def take_in(self, exported: Exported, new_id: str, *, request_id: str | None) -> None:
        """A session from bytes."""
        operation = ImportSession(blob=exported.blob, session_id=new_id, request_id=request_id)
        view = self._asked(operation)
        if new_id in self.model.sessions:
            assert isinstance(view, SessionExists), view
            self.counts["import over existing"] += 1
            return
        session = self._made(new_id, exported.model, exported.standing, view)
        assert session.incarnation != exported.source_incarnation
        if request_id is not None:
            self._check_view(session, self._asked(operation), used=False)
        source = self.model.sessions.get(exported.source_id)
        moved = source is not None and source.now.tape != exported.standing.tape
        self.counts["import"] += 1
        self.counts["import after the source moved"] += moved

    def refuse_in(self, exported: Exported, new_id: str, place: float, bit: int, *, cut: bool) -> None:
        """Bytes with one bit changed, or cut short, are refused, and nothing is made of them."""
        altered = bytearray(exported.blob)
        offset = int(place * (len(altered) - 1))
        if cut:
            del altered[offset:]
        else:
            altered[offset] ^= 1 << bit
        outcome = self._asked(ImportSession(blob=bytes(altered), session_id=new_id))
        assert isinstance(outcome, GatehouseError), outcome
        assert outcome.reason in ("EXPORT_MALFORMED", "EXPORT_ALTERED", "EXPORT_TOO_NEW"), outcome
        self.counts["altered export refused"] += 1
        self._check_lost(new_id)

    def end_midway(self, asked: Asked, *, evicted: bool) -> None:
        """A session ends while it computes a write: that is applied before, or not at all."""
        session_id = asked.session_id
        end = EvictSession(session_id=session_id) if evicted else DeleteSession(session_id=session_id)
        reason = "SESSION_EVICTED" if evicted else "SESSION_DELETED"
        desk = self.server.desk
        tickets = desk.send(self._operation(asked))
        desk.tick()
        written, ended = desk.settle(tickets + desk.send(end))
        assert isinstance(ended, SessionDeleted), ended
        if isinstance(written, SessionNotFound):
            assert written.reason == reason
        else:
            self._check_written(asked, written, "live")
        self.model.end(session_id, reason)
        self._check_lost(session_id)
        self.counts["end in mid-write"] += 1

    def finish(self) -> None:
        """Every session is where it has to be, and answers as one that never made a detour."""
        for session_id in list(self.model.sessions):
            session = self.seen(session_id)
            if session is None:
                continue
            end = session.now.position
            self.writes([Asked(session_id=session_id, at=end, vector=True)])
            if end:
                self.create("direct", session.model)
                self.writes([Asked(session_id="direct", steps=session.now.tape, vector=True)])
                self.delete("direct")

    def _forked(self, source: TapeSession, operation: ForkSession, view: Any) -> TapeSession | None:
        at = operation.at
        source.latest_end = self.model.now + self.model.idle_seconds
        if isinstance(view, SessionView):
            self._settle(source, view.state.revision)
        problem = None if at is None else source.restorable(at)
        if isinstance(view, Exception):
            assert isinstance(view, GatehouseError), view
            assert problem is not None, view
            assert view.reason in problem.reasons
            return None
        assert problem is None or problem.reasons == {"POSITION_NOT_RETAINED"}
        assert operation.new_session_id is not None
        standing = self.model.inherit(source, source.now.position if at is None else at)
        session = self._made(operation.new_session_id, source.model, standing, view)
        assert session.incarnation != source.incarnation
        source.forked = True
        self.counts["fork"] += 1
        self.counts["fork at an earlier position"] += at is not None and at < source.now.position
        return session
