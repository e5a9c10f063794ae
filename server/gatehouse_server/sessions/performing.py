"""Operations on a session, from finding it to the answer."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from gatehouse_server.engine.observer import Observer
from gatehouse_server.errors import ModelMismatch, SessionDamaged, SessionNotFound
from gatehouse_server.sessions.copying import Copies
from gatehouse_server.sessions.directory import Directory
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.keeper import Keeper
from gatehouse_server.sessions.lines import Start
from gatehouse_server.sessions.making import Maker
from gatehouse_server.sessions.operations import (
    CloseSequence,
    CreateSession,
    DeleteSession,
    EvictSession,
    ExportSession,
    ForkSession,
    GetSession,
    ImportSession,
    InspectSession,
    ListStored,
    OpenSequences,
    RefusedWrite,
    StepSequence,
    Suggest,
    Write,
)
from gatehouse_server.sessions.reception import Reception
from gatehouse_server.sessions.results import SessionDeleted, SuggestResult, WriteResult
from gatehouse_server.sessions.sequences import Sequences
from gatehouse_server.sessions.session import Session
from gatehouse_server.sessions.steps import Running
from gatehouse_server.sessions.suggesting import check_suggests, suggest
from gatehouse_server.sessions.work import Work
from gatehouse_server.sessions.writing import write
from gatehouse_server.stores.port import Tombstone

_log = structlog.get_logger(__name__)


class Performance:
    """Used by the engine thread."""

    def __init__(
        self,
        *,
        reception: Reception,
        maker: Maker,
        copies: Copies,
        directory: Directory,
        sequences: Sequences,
        hosts: Hosts,
        keeper: Keeper,
        observer: Observer,
    ) -> None:
        self._reception = reception
        self._maker = maker
        self._hosts = hosts
        self._keeper = keeper
        self._observer = observer
        self.starts: Mapping[type, Start] = {
            Write: self.write,
            Suggest: self.suggest,
            RefusedWrite: lambda operation, *_: self.refuse(operation),
            CreateSession: lambda operation, session_id, _: maker.create(operation, session_id),
            ForkSession: lambda operation, _, work: copies.fork(operation, work),
            ExportSession: lambda operation, *_: copies.export(operation),
            ImportSession: lambda operation, session_id, _: copies.import_(operation, session_id),
            OpenSequences: lambda operation, _, work: sequences.open(operation, work),
            StepSequence: lambda operation, _, work: sequences.step(operation, work),
            CloseSequence: lambda operation, *_: sequences.close(operation),
            DeleteSession: lambda operation, *_: self.delete(operation),
            EvictSession: lambda operation, *_: self.evict(operation),
            GetSession: lambda operation, *_: directory.find(operation.session_id),
            InspectSession: lambda operation, *_: directory.inspect(operation.session_id),
            ListStored: lambda operation, *_: directory.stored(operation),
        }

    def write(self, operation: Write, session_id: str, work: Work) -> Running[WriteResult]:
        """Runs a write."""
        session = self._reception.live(session_id)
        if session is None or (self._keeper.shared and _may_be_elsewhere(session, operation)):
            return self._write_once_found(operation, session, work)
        work.runs_on(session)
        return write(session, operation, work, self._keeper, self._observer)

    def _write_once_found(
        self, operation: Write, session: Session | None, work: Work
    ) -> Running[WriteResult]:
        if session is None:
            session = yield from self._reception.present(operation.session_id)
        if self._keeper.shared and _may_be_elsewhere(session, operation):
            session = yield from self._reception.afresh(session)
        work.runs_on(session)
        return (yield from write(session, operation, work, self._keeper, self._observer))

    def refuse(self, operation: RefusedWrite) -> Running[WriteResult]:
        """Ends as the operation says, in its turn: the session is to know that a write of it was refused."""
        try:
            yield from self._reception.present(operation.session_id)
        except SessionNotFound:
            raise operation.error from None
        raise operation.error

    def suggest(self, operation: Suggest, session_id: str, work: Work) -> Running[SuggestResult]:
        """Runs a suggestion, on a session that is made when there is none."""
        rebuilt = operation.session_id is None
        if not rebuilt:
            try:
                session = yield from self._reception.present(session_id)
            except SessionNotFound:
                rebuilt = True
            except SessionDamaged:
                _log.warning("a damaged session is made anew from its text", session_id=session_id)
                yield from self._reception.end(session_id, Tombstone(why="SESSION_EVICTED"))
                rebuilt = True
        if rebuilt:
            model = self._hosts.suggesting(operation.model)
            check_suggests(model, operation)
            session = yield from self._maker.make_for_suggestion(model, session_id)
        elif operation.model is not None and operation.model not in (session.model.key, session.model.name):
            raise ModelMismatch(
                f"session {session.session_id!r} runs on {session.model.key}, not on {operation.model}. "
                "Use another session, or leave the model out"
            )
        work.runs_on(session)
        return (yield from suggest(session, operation, work, self._keeper, self._observer, rebuilt=rebuilt))

    def delete(self, operation: DeleteSession) -> Running[SessionDeleted]:
        """Ends a session by its client's will."""
        tombstone = Tombstone(why="SESSION_DELETED", request_id=operation.request_id)
        yield from self._reception.end(operation.session_id, tombstone)
        return SessionDeleted(session_id=operation.session_id)

    def evict(self, operation: EvictSession) -> Running[SessionDeleted]:
        """Ends a session by the operator's will."""
        yield from self._reception.end(operation.session_id, Tombstone(why="SESSION_EVICTED"))
        return SessionDeleted(session_id=operation.session_id)


def _may_be_elsewhere(session: Session, operation: Write) -> bool:
    """Whether a write looks as if another process had moved the session on, or does not say."""
    if operation.revision is None or operation.incarnation is None:
        return True
    return operation.incarnation > session.incarnation or operation.revision > session.revision + 1
