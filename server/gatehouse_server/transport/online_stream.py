"""One OnlineService.Stream: operations in as they come, results out as the engine finishes them.

Nothing is undone because a stream ends: what was read goes on in the engine. Only its answers are lost, and
counted, when nobody is there to read them.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from gatehouse.v1 import online_pb2

from gatehouse_server.engine.loop import Engine
from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import GatehouseError, InvalidInput
from gatehouse_server.sessions.operations import RefusedWrite, Suggest, Write
from gatehouse_server.sessions.results import SuggestResult, WriteResult
from gatehouse_server.telemetry.call_trace import current_trace
from gatehouse_server.telemetry.request_metrics import Operation, RequestMetrics
from gatehouse_server.transport.decoding import (
    DEFAULT_MAX_TEXT_BYTES,
    decode_suggestion,
    decode_timeout,
    decode_write,
    refused_write,
)
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.encoding import fill_suggest_result, fill_write_result, weight_bytes
from gatehouse_server.transport.outbox import Outbox
from gatehouse_server.transport.replies import shortest
from gatehouse_server.transport.status import fill_status
from gatehouse_server.transport.turned_away import TurnedAway

_NO_TIME = (0.0, 0.0)


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

    def read(self) -> Coroutine[Any, Any, object]: ...
    def write(self, message: online_pb2.StreamResponse) -> Coroutine[Any, Any, object]: ...
    def time_remaining(self) -> float | None: ...


class _Asked(NamedTuple):
    """An operation that was read: what is needed to answer it. A tuple, since one is made for each step."""

    tag: int
    kind: str | None
    session_id: str
    place: int
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
        client: str,
    ) -> None:
        self._call = call
        self._engine = engine
        self._limits = limits
        self._observer = observer
        self._metrics = metrics
        self._client = client
        self._trace = current_trace()
        remaining = call.time_remaining()
        self._deadline_seconds = None if remaining is None else engine.clock() + remaining
        self._asked: dict[int, _Asked] = {}
        self._next_tag = 0
        self._unanswered_of: dict[str, int] = {}
        self._turned_away = TurnedAway()
        self._outbox = Outbox(online_pb2.StreamResponse, call.write)
        self._answers: list[tuple[_Asked, object]] = []
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
        session_id = asked.session_id
        if session_id:
            unanswered = self._unanswered_of[session_id] - 1
            if unanswered:
                self._unanswered_of[session_id] = unanswered
            else:
                del self._unanswered_of[session_id]
        self._answers.append((asked, outcome))

    def flush(self) -> None:
        """All answers of a tick were added: they leave as one message, at once if no other is under way."""
        answers, self._answers = self._answers, []
        if self._gone:
            if answers:
                self._observer.happened(Happening.DROPPED_CANCELLED, len(answers))
            return
        if answers:
            self._put_into_words(answers)
        self._outbox.wake()

    async def _read(self) -> None:
        read, has_room = self._call.read, self._has_room
        try:
            while True:
                if not has_room(""):
                    await self._room("")
                request = await read()
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
        now_seconds = self._engine.clock()
        for index, operation in enumerate(request.operations):
            kind = operation.WhichOneof("operation")
            # Of no kind, it has an empty suggestion.
            session_id = operation.write.session_id if kind == "write" else operation.suggest.session_id
            if not self._has_room(session_id):
                self._submit(tickets)
                tickets = []
                await self._room(session_id)
                now_seconds = self._engine.clock()
            tag = self._next_tag
            self._next_tag = tag + 1
            self._asked[tag] = _Asked(operation.tag, kind, session_id, index, now_seconds)
            if session_id:
                self._unanswered_of[session_id] = self._unanswered_of.get(session_id, 0) + 1
            try:
                decoded, deadline_seconds = self._decode(operation, kind, session_id, now_seconds)
            except GatehouseError as error:
                if kind != "write":
                    self.add(tag, error)
                    self.flush()
                    continue
                decoded, deadline_seconds = refused_write(operation.write, error), self._deadline_seconds
            tickets.append(
                Ticket(
                    operation=decoded,
                    sink=self,
                    tag=tag,
                    received_seconds=now_seconds,
                    deadline_seconds=deadline_seconds,
                    client=self._client,
                )
            )
        self._submit(tickets)

    def _decode(
        self, operation: online_pb2.StreamOperation, kind: str | None, session_id: str, now_seconds: float
    ) -> tuple[Write | Suggest | RefusedWrite, float | None]:
        """The operation, and until when it may begin."""
        message: online_pb2.SessionWrite | online_pb2.TextSuggestion
        decoded: Write | Suggest
        if kind == "write":
            message = operation.write
            self._turned_away.check(session_id, message)
            decoded = decode_write(message, max_text_bytes=self._limits.max_text_bytes)
        elif kind == "suggest":
            message = operation.suggest
            decoded = decode_suggestion(message, max_text_bytes=self._limits.max_text_bytes)
        else:
            raise InvalidInput.of_field("operation", "expected `write` or `suggest`, got neither")
        timeout_seconds = decode_timeout(message)
        if timeout_seconds is None:
            return decoded, self._deadline_seconds
        return decoded, shortest(self._deadline_seconds, now_seconds + timeout_seconds)

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

    def _has_room(self, session_id: str) -> bool:
        limits, outbox = self._limits, self._outbox
        return (
            len(self._asked) + outbox.unwritten < limits.max_unanswered
            and outbox.unwritten_bytes < limits.max_unwritten_bytes
            and self._unanswered_of.get(session_id, 0) < limits.max_unanswered_per_session
        )

    async def _room(self, session_id: str) -> None:
        await self._outbox.room(lambda: self._has_room(session_id))

    def _put_into_words(self, answers: list[tuple[_Asked, object]]) -> None:
        """Puts answers into messages. What is the same for all of a tick, the time, is looked at once."""
        now_seconds, now_unix_seconds = self._engine.clock(), time.time()
        message_for = self._outbox.message_for
        message, add = None, None
        seconds: dict[tuple[Operation, str], list[float]] = {}
        spent: dict[Operation, tuple[float, float]] = {}
        for asked, outcome in answers:
            place = message_for(weight_bytes(outcome))
            if place is not message or add is None:
                message, add = place, place.results.add
            code = self._fill(add(), asked, outcome, now_unix_seconds)
            kind: Operation = "write" if asked.kind == "write" else "suggest"
            spans = seconds.get((kind, code))
            if spans is None:
                spans = seconds[kind, code] = []
            spans.append(now_seconds - asked.received_seconds)
            if code == "OK":
                timing = outcome.timing  # type: ignore[attr-defined]  # what succeeds has one
                queue, compute = spent.get(kind, _NO_TIME)
                spent[kind] = queue + timing.queue_seconds, compute + timing.compute_seconds
        for (kind, code), spans in seconds.items():
            self._metrics.answered(kind, code, spans, spent.get(kind) if code == "OK" else None)
        if self._trace is not None:
            self._trace.operations(answers, now_seconds)

    def _fill(
        self, result: online_pb2.StreamResult, asked: _Asked, outcome: object, now_unix_seconds: float
    ) -> str:
        """Puts one answer into words, and returns the name of its code."""
        result.tag = asked.tag
        try:
            if isinstance(outcome, WriteResult):
                fill_write_result(result.write, outcome, now_unix_seconds)
                return "OK"
            if isinstance(outcome, SuggestResult):
                fill_suggest_result(result.suggest, outcome, now_unix_seconds)
                return "OK"
            if isinstance(outcome, BaseException):
                field = (
                    f"operations[{asked.place}].{asked.kind}."
                    if asked.kind
                    else f"operations[{asked.place}]."
                )
                return fill_status(result.status, outcome, path=field)
            raise TypeError(f"the engine answered {type(outcome).__name__}")
        except Exception as error:  # one result that cannot be put into words must not cost the stream
            result.Clear()
            result.tag = asked.tag
            return fill_status(result.status, error)
