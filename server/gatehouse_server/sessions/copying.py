"""Sessions like another one, beside it or on another server: forked, exported, imported."""

from __future__ import annotations

from dataclasses import replace

from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.errors import InvalidInput, ModelMismatch, SessionDamaged
from gatehouse_server.sessions.held_rows import HeldRows
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.identifiers import Identifiers
from gatehouse_server.sessions.making import Maker
from gatehouse_server.sessions.operations import ExportSession, ForkSession, ImportSession
from gatehouse_server.sessions.reception import Reception
from gatehouse_server.sessions.record import decode_head, describe, encode_head, pack, parts_of, unpack
from gatehouse_server.sessions.results import SessionExport, SessionView
from gatehouse_server.sessions.revisions import standing
from gatehouse_server.sessions.sealing import Sealer
from gatehouse_server.sessions.session import INITIAL_STATE
from gatehouse_server.sessions.steps import Running
from gatehouse_server.sessions.work import Work
from gatehouse_server.sessions.writing import restored


class Copies:
    """Used by the engine thread. `sealer` keeps what leaves the server from being changed outside of it."""

    def __init__(
        self,
        *,
        hosts: Hosts,
        reception: Reception,
        maker: Maker,
        identifiers: Identifiers,
        sealer: Sealer,
        observer: Observer,
    ) -> None:
        self._hosts = hosts
        self._reception = reception
        self._maker = maker
        self._identifiers = identifiers
        self._sealer = sealer
        self._observer = observer

    def fork(self, operation: ForkSession, work: Work) -> Running[SessionView]:
        """A session like another one."""
        session_id = self._identifiers.new(operation.new_session_id, operation.request_id)
        source = yield from self._reception.current(operation.session_id)
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
        made = yield from self._maker.take_in(head, parts, session_id, operation.request_id, source.model)
        self._observer.happened(Happening.SESSION_FORKED)
        return made

    def export(self, operation: ExportSession) -> Running[SessionExport]:
        """A session as bytes."""
        session = yield from self._reception.current(operation.session_id)
        head, states = describe(session)
        head = replace(head, session_id="", request_id=None)
        record = pack(encode_head(head), parts_of(session.model, states, session.tape))
        return SessionExport(blob=self._sealer.seal(record), view=self._reception.view_of(session))

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
        made = yield from self._maker.take_in(head, parts, session_id, operation.request_id, model)
        self._observer.happened(Happening.SESSION_IMPORTED)
        return made
