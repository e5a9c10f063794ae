"""One OnlineService.Stream: operations in as they come, results out as the engine finishes them.

Nothing is undone because a stream ends: what was read goes on in the engine. Only its answers are lost, and
counted, when nobody is there to read them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from gatehouse.v1 import online_pb2

from gatehouse_server.engine.loop import Engine
from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import GatehouseError, InvalidInput
from gatehouse_server.sessions.operations import RefusedWrite, Suggest, Write
from gatehouse_server.sessions.results import SuggestResult, WriteResult
from gatehouse_server.telemetry.request_metrics import Finished, Operation, RequestMetrics
from gatehouse_server.transport.decoding import (
    DEFAULT_MAX_TEXT_BYTES,
    decode_suggestion,
    decode_timeout,
    decode_write,
    refused_write,
    session_of,
)
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.encoding import fill_suggest_result, fill_write_result, weight_bytes
from gatehouse_server.transport.outbox import Outbox
from gatehouse_server.transport.replies import shortest
from gatehouse_server.transport.status import fill_status
from gatehouse_server.transport.turned_away import TurnedAway


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How much one stream may have under way before the server stops reading from it.

    `max_unanswered_per_session` bounds the operations of one session that have no answer yet,
    `max_unanswered` all operations whose result was not yet written to the connection, `max_unwritten_bytes`
    the size of such results.
    """

    max_text_bytes: int = DEFAULT_MAX_TEXT_BYTES
    max_unanswered_per_session: int = 8
    max_unanswered: int = 1024
    max_unwritten_bytes: int = 4 * 1024 * 1024


class StreamCall(Protocol):
    """What is needed of gRPC's context."""

    async def read(self) -> object: ...
    async def write(self, message: online_pb2.StreamResponse) -> None: ...
    def time_remaining(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class _Asked:
    """An operation that was read: what is needed to answer it."""

    tag: int
    kind: Operation
    session_id: str | None
    path: str
    received_seconds: float


class OnlineStream:
    """The conversation of one stream, and the sink for its answers."""

    def __init__(
        self,
        call: StreamCall,
        *,
        engine: Engine,
        limits: StreamLimits,
        observer: Observer,
        metrics: RequestMetrics,
    ) -> None:
        self._call = call
        self._engine = engine
        self._limits = limits
        self._observer = observer
        self._metrics = metrics
        remaining = call.time_remaining()
        self._deadline_seconds = None if remaining is None else engine.clock() + remaining
        self._asked: dict[int, _Asked] = {}
        self._next_tag = 0
        self._per_session: Counter[str] = Counter()
        self._turned_away = TurnedAway()
        self._outbox = Outbox(online_pb2.StreamResponse, call.write)
        self._finished: list[Finished] = []
        self._read_all = False
        self._gone = False

    async def converse(self, departure: Departure) -> None:
        """Reads and answers until the client has sent all and has all answers, or the server leaves
        (Draining).
        """
        try:
            await departure.conversation(
                reading=self._read(), writing=self._outbox.write_all(self._is_answered)
            )
        finally:
            self._gone = True
            if self._outbox.unwritten:
                self._observer.happened(Happening.DROPPED_CANCELLED, self._outbox.unwritten)

    def add(self, tag: int, outcome: object) -> None:
        """Takes the answer of the engine to one operation."""
        asked = self._asked.pop(tag)
        if asked.session_id is not None:
            self._per_session[asked.session_id] -= 1
            if not self._per_session[asked.session_id]:
                del self._per_session[asked.session_id]
        if self._gone:
            self._observer.happened(Happening.DROPPED_CANCELLED)
        else:
            self._append(asked, outcome)

    def flush(self) -> None:
        """All answers of a tick were added: the writer sends them as one message."""
        if self._finished:
            self._metrics.operations(self._finished)
            self._finished.clear()
        self._outbox.wake()

    async def _read(self) -> None:
        try:
            while True:
                await self._room(None)
                request = await self._call.read()
                if not isinstance(request, online_pb2.StreamRequest):
                    return  # the end: half-closed, or cancelled, which looks the same
                await self._take(request)
        finally:
            self._read_all = True
            self._outbox.wake()

    def _is_answered(self) -> bool:
        return self._read_all and not self._asked

    async def _take(self, request: online_pb2.StreamRequest) -> None:
        """Submits the operations of a message, as many at once as there is room for."""
        tickets: list[Ticket] = []
        for index, operation in enumerate(request.operations):
            now_seconds = self._engine.clock()
            kind = operation.WhichOneof("operation")
            asked = _Asked(
                operation.tag,
                "suggest" if kind == "suggest" else "write",
                session_of(operation),
                f"operations[{index}].{kind}." if kind else f"operations[{index}].",
                now_seconds,
            )
            if not self._has_room(asked.session_id):
                self._submit(tickets)
                tickets = []
                await self._room(asked.session_id)
            tag = self._register(asked)
            try:
                decoded, timeout_seconds = self._decode(operation, kind)
            except GatehouseError as error:
                if kind != "write":
                    self.add(tag, error)
                    self.flush()
                    continue
                decoded, timeout_seconds = refused_write(operation.write, error), None
            tickets.append(
                Ticket(
                    operation=decoded,
                    sink=self,
                    tag=tag,
                    received_seconds=now_seconds,
                    deadline_seconds=shortest(
                        self._deadline_seconds,
                        None if timeout_seconds is None else now_seconds + timeout_seconds,
                    ),
                )
            )
        self._submit(tickets)

    def _decode(
        self, operation: online_pb2.StreamOperation, kind: str | None
    ) -> tuple[Write | Suggest | RefusedWrite, float | None]:
        limit = self._limits.max_text_bytes
        if kind == "write":
            self._turned_away.check(operation.write)
            return decode_write(operation.write, max_text_bytes=limit), decode_timeout(operation.write)
        if kind == "suggest":
            return decode_suggestion(operation.suggest, max_text_bytes=limit), decode_timeout(
                operation.suggest
            )
        raise InvalidInput.of_field("operation", "expected `write` or `suggest`, got neither")

    def _submit(self, tickets: list[Ticket]) -> None:
        if not tickets:
            return
        try:
            self._engine.submit_all(tickets)
        except GatehouseError as error:
            for ticket in tickets:
                if isinstance(ticket.operation, Write | RefusedWrite):
                    self._turned_away.remember(ticket.operation)
                self.add(ticket.tag, error)
            self.flush()

    def _register(self, asked: _Asked) -> int:
        tag = self._next_tag
        self._next_tag += 1
        self._asked[tag] = asked
        if asked.session_id is not None:
            self._per_session[asked.session_id] += 1
        return tag

    def _has_room(self, session_id: str | None) -> bool:
        limits = self._limits
        return (
            len(self._asked) + self._outbox.unwritten < limits.max_unanswered
            and self._outbox.unwritten_bytes < limits.max_unwritten_bytes
            and (session_id is None or self._per_session[session_id] < limits.max_unanswered_per_session)
        )

    async def _room(self, session_id: str | None) -> None:
        await self._outbox.room(lambda: self._has_room(session_id))

    def _append(self, asked: _Asked, outcome: object) -> None:
        result = self._outbox.message_for(weight_bytes(outcome)).results.add()
        result.tag = asked.tag
        code = "OK"
        try:
            if isinstance(outcome, WriteResult):
                fill_write_result(result.write, outcome)
            elif isinstance(outcome, SuggestResult):
                fill_suggest_result(result.suggest, outcome)
            elif isinstance(outcome, BaseException):
                code = fill_status(result.status, outcome, path=asked.path)
            else:
                raise TypeError(f"the engine answered {type(outcome).__name__}")
        except Exception as error:  # one result that cannot be put into words must not cost the stream
            result.Clear()
            result.tag = asked.tag
            code = fill_status(result.status, error)
        self._finished.append((asked.kind, code, self._engine.clock() - asked.received_seconds))
