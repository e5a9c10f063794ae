"""One OnlineService.Stream: operations in as they come, results out as the engine finishes them.

Nothing is undone because a stream ends: what was read goes on in the engine. Only its answers are lost, and
counted, when nobody is there to read them.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from gatehouse.v1 import online_pb2

from gatehouse_server.engine.loop import Engine
from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import GatehouseError, InvalidInput
from gatehouse_server.sessions.operations import RefusedWrite, Suggest, Write
from gatehouse_server.telemetry.call_trace import current_trace
from gatehouse_server.telemetry.request_metrics import RequestMetrics
from gatehouse_server.transport.decoding import (
    DEFAULT_MAX_TEXT_BYTES,
    DEFAULT_MAX_WRITE_STEPS,
    decode_suggestion,
    decode_timeout,
    decode_write,
    refused_write,
)
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.outbox import Outbox
from gatehouse_server.transport.output_budget import OutputBudget
from gatehouse_server.transport.output_sizes import LargeOutputs, OutputSizes, suggestion_bytes
from gatehouse_server.transport.replies import shortest
from gatehouse_server.transport.stream_answers import Asked, StreamAnswers
from gatehouse_server.transport.turned_away import TurnedAway


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How much one stream may have under way before the server stops reading from it.

    `max_unanswered_per_session` bounds the operations of one session that have no answer yet,
    `max_unanswered` all operations whose result was not yet written to the connection, `max_unwritten_bytes`
    the size of such results. `max_output_bytes_in_flight` bounds what large answers may take together, from the reading
    of their operations on; one of any size always may be under way. It has room for twenty of the largest, so that
    batches of them are computed, and bounds what a client that does not read costs.
    """

    max_text_bytes: int = DEFAULT_MAX_TEXT_BYTES
    max_write_steps: int = DEFAULT_MAX_WRITE_STEPS
    max_unanswered_per_session: int = 8
    max_unanswered: int = 1024
    max_unwritten_bytes: int = 4 * 1024 * 1024
    max_output_bytes_in_flight: int = 64 * 1024 * 1024


class StreamCall(Protocol):
    """What is needed of gRPC's context."""

    def read(self) -> Coroutine[Any, Any, object]: ...
    def write(self, message: online_pb2.StreamResponse) -> Coroutine[Any, Any, object]: ...
    def time_remaining(self) -> float | None: ...


class OnlineStream:
    """The conversation of one stream, and the sink for its answers."""

    def __init__(
        self,
        call: StreamCall,
        *,
        engine: Engine,
        limits: StreamLimits,
        sizes: OutputSizes,
        observer: Observer,
        metrics: RequestMetrics,
        client: str,
    ) -> None:
        self._call = call
        self._engine = engine
        self._limits = limits
        self._sizes = sizes
        self._observer = observer
        self._client = client
        remaining = call.time_remaining()
        self._deadline_seconds = None if remaining is None else engine.clock() + remaining
        self._asked: dict[int, Asked] = {}
        self._next_tag = 0
        self._unanswered_of: dict[str, int] = {}
        self._turned_away = TurnedAway()
        self._outbox = Outbox(online_pb2.StreamResponse, call.write)
        self._budget = OutputBudget(self._outbox, most_in_flight_bytes=limits.max_output_bytes_in_flight)
        self._words = StreamAnswers(
            self._outbox,
            clock=engine.clock,
            metrics=metrics,
            trace=current_trace(),
            turned_away=self._turned_away,
        )
        self._answers: list[tuple[Asked, object]] = []
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
        if asked.most_bytes:
            self._budget.settle(asked.most_bytes)
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
            self._words.put(answers)
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
            decoded, timeout_seconds, most_bytes = self._decode(operation, kind)
            if not self._has_room(session_id, most_bytes):
                self._submit(tickets)
                tickets = []
                await self._room(session_id, most_bytes)
                now_seconds = self._engine.clock()
            tag = self._next_tag
            self._next_tag = tag + 1
            self._asked[tag] = Asked(operation.tag, kind, session_id, index, now_seconds, most_bytes)
            if session_id:
                self._unanswered_of[session_id] = self._unanswered_of.get(session_id, 0) + 1
            if most_bytes:
                self._budget.owe(most_bytes)
            if isinstance(decoded, GatehouseError):
                self.add(tag, decoded)
                self.flush()
                continue
            deadline_seconds = self._deadline_seconds
            if timeout_seconds is not None:
                deadline_seconds = shortest(deadline_seconds, now_seconds + timeout_seconds)
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
        self, operation: online_pb2.StreamOperation, kind: str | None
    ) -> tuple[Write | Suggest | RefusedWrite | GatehouseError, float | None, int]:
        """The operation, or why it is none; its timeout in seconds; the most bytes of its answer, 0 for few."""
        max_text_bytes = self._limits.max_text_bytes
        if kind == "write":
            message = operation.write
            try:
                write = decode_write(
                    message, max_text_bytes=max_text_bytes, max_write_steps=self._limits.max_write_steps
                )
                is_large = type(write.outputs) is LargeOutputs
                return write, decode_timeout(message), self._sizes.write_bytes(write) if is_large else 0
            except GatehouseError as error:
                return refused_write(message, error), None, 0
        try:
            if kind == "suggest":
                asked = operation.suggest
                suggestion = decode_suggestion(asked, max_text_bytes=max_text_bytes)
                return suggestion, decode_timeout(asked), suggestion_bytes(suggestion.k)
            raise InvalidInput.of_field("operation", "expected `write` or `suggest`, got neither")
        except GatehouseError as error:
            return error, None, 0

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

    def _has_room(self, session_id: str, most_bytes: int = 0) -> bool:
        limits, outbox = self._limits, self._outbox
        return (
            len(self._asked) + outbox.unwritten < limits.max_unanswered
            and outbox.unwritten_bytes < limits.max_unwritten_bytes
            and self._unanswered_of.get(session_id, 0) < limits.max_unanswered_per_session
            and (not most_bytes or self._budget.has_room_for(most_bytes))
        )

    async def _room(self, session_id: str, most_bytes: int = 0) -> None:
        await self._outbox.room(lambda: self._has_room(session_id, most_bytes))
