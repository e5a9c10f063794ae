"""One OfflineService.ClassifyStream or Transduce: documents in, results out as they finish, in bounded memory.

A document counts as in flight from its reading until its result was taken by the connection. When a client
stops reading, the connection takes no more, the count reaches its limit, and the client is not read from
either.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, cast

from gatehouse.v1 import offline_pb2

from gatehouse_server.engine.observer import Happening
from gatehouse_server.errors import InvalidInput
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.document_flow import DocumentFlow
from gatehouse_server.transport.document_services import Services
from gatehouse_server.transport.documents import DocumentEncoder
from gatehouse_server.transport.outbox import Outbox
from gatehouse_server.transport.parts import PartAssembler
from gatehouse_server.transport.result_teller import AnswerT, ResultT, ResultTeller

Request = offline_pb2.ClassifyStreamRequest | offline_pb2.TransduceRequest
Response = offline_pb2.ClassifyStreamResponse | offline_pb2.TransduceResponse


class DocumentCall(Protocol):
    """What is needed of gRPC's context."""

    def read(self) -> Coroutine[Any, Any, object]: ...
    async def write(self, message: Response) -> None: ...
    def time_remaining(self) -> float | None: ...


class DocumentStream(Generic[ResultT, AnswerT]):
    """The conversation of one stream, from its first message on."""

    def __init__(
        self,
        call: DocumentCall,
        services: Services,
        *,
        first: Request,
        new_response: Callable[[], Response],
        encoder: DocumentEncoder,
        assembler: PartAssembler,
        teller: ResultTeller[ResultT, AnswerT],
        deadline_seconds: float | None,
    ) -> None:
        self._call = call
        self._services = services
        self._first = first
        self._read_all = False
        self._new_response = new_response
        self._outbox = Outbox(new_response, call.write)
        self._flow = DocumentFlow(
            services,
            encoder=encoder,
            assembler=assembler,
            teller=teller,
            deadline_seconds=deadline_seconds,
            desk=self,
        )

    @property
    def unwritten_bytes(self) -> int:
        """See `ResultDesk`."""
        return self._outbox.unwritten_bytes

    def has_room(self) -> bool:
        """See `ResultDesk`."""
        in_flight = self._flow.unanswered + self._outbox.unwritten
        return in_flight < self._services.limits.max_in_flight

    async def room(self, is_room: Callable[[], bool]) -> None:
        """See `ResultDesk`."""
        await self._outbox.room(is_room)

    def place(self, number: int, size_bytes: int) -> ResultT:
        """See `ResultDesk`: in the message that the next results share."""
        return cast(ResultT, self._outbox.message_for(size_bytes).results.add())

    def place_apart(self, number: int, size_bytes: int) -> tuple[ResultT, Callable[[], None]]:
        """See `ResultDesk`: in a message of its own, which is not on its way yet."""
        message = self._new_response()
        return cast(ResultT, message.results.add()), lambda: self._outbox.put(message, size_bytes)

    def flushed(self) -> None:
        """See `ResultDesk`."""
        self._outbox.wake()

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
            while isinstance(request, Request):
                await self._take(request)
                await self._outbox.room(self.has_room)
                request = await self._call.read()
            self._flow.end()
        finally:
            self._read_all = True
            self._outbox.wake()

    async def _take(self, request: Request) -> None:
        if request.model not in ("", self._first.model):
            error = InvalidInput.of_field(
                "model",
                f"expected {self._first.model!r}, as in the stream's first message, or nothing, "
                f"got {request.model[:40]!r}",
            )
            await self._flow.refuse_all(request.documents, error)
        else:
            await self._flow.take(request.documents)

    def _is_answered(self) -> bool:
        return self._read_all and not self._flow.unanswered
