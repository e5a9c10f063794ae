"""One OfflineService.ClassifyStream: documents in, results out as they finish, in bounded memory.

A document counts as in flight from its reading until its result was taken by the connection. When a client
stops reading, the connection takes no more, the count reaches its limit, and the client is not read from
either.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from gatehouse.v1 import offline_pb2

from gatehouse_server.engine.observer import Happening
from gatehouse_server.errors import InvalidInput
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.document_flow import DocumentFlow, Ranking, Services
from gatehouse_server.transport.documents import DocumentEncoder
from gatehouse_server.transport.outbox import Outbox
from gatehouse_server.transport.parts import PartAssembler

_RESULT_BYTES = 512


class DocumentCall(Protocol):
    """What is needed of gRPC's context."""

    def read(self) -> Coroutine[Any, Any, object]: ...
    async def write(self, message: offline_pb2.ClassifyStreamResponse) -> None: ...
    def time_remaining(self) -> float | None: ...


class DocumentStream:
    """The conversation of one stream, from its first message on."""

    def __init__(
        self,
        call: DocumentCall,
        services: Services,
        *,
        first: offline_pb2.ClassifyStreamRequest,
        encoder: DocumentEncoder,
        assembler: PartAssembler,
        ranking: Ranking,
        deadline_seconds: float | None,
    ) -> None:
        self._call = call
        self._services = services
        self._first = first
        self._read_all = False
        self._outbox = Outbox(offline_pb2.ClassifyStreamResponse, call.write)
        self._flow = DocumentFlow(
            services,
            encoder=encoder,
            assembler=assembler,
            ranking=ranking,
            deadline_seconds=deadline_seconds,
            place=lambda _: self._outbox.message_for(_RESULT_BYTES).results.add(),
            flushed=self._outbox.wake,
            has_room=self._has_room,
            room=lambda: self._outbox.room(self._has_room),
        )

    async def converse(self, departure: Departure) -> None:
        """Reads and answers until the client has sent all and has all results, or the server leaves
        (Draining).
        """
        try:
            await departure.conversation(
                reading=self._read(), writing=self._outbox.write_all(self._is_answered)
            )
        finally:
            self._flow.leave()
            if self._outbox.unwritten:
                self._services.observer.happened(Happening.DROPPED_CANCELLED, self._outbox.unwritten)

    async def _read(self) -> None:
        try:
            request: object = self._first
            while isinstance(request, offline_pb2.ClassifyStreamRequest):
                await self._take(request)
                await self._outbox.room(self._has_room)
                request = await self._call.read()
            self._flow.end()
        finally:
            self._read_all = True
            self._outbox.wake()

    async def _take(self, request: offline_pb2.ClassifyStreamRequest) -> None:
        if request.model not in ("", self._first.model):
            error = InvalidInput.of_field(
                "model",
                f"expected {self._first.model!r}, as in the stream's first message, or nothing, "
                f"got {request.model[:40]!r}",
            )
            self._flow.refuse_all(request.documents, error)
        else:
            await self._flow.take(request.documents)

    def _has_room(self) -> bool:
        in_flight = self._flow.unanswered + self._outbox.unwritten
        return in_flight < self._services.limits.max_in_flight

    def _is_answered(self) -> bool:
        return self._read_all and not self._flow.unanswered
