"""OfflineService: whole documents over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import grpc.aio
from gatehouse.v1 import offline_pb2, offline_pb2_grpc

from gatehouse_server.errors import DeadlineExpired, InvalidInput
from gatehouse_server.models.registry import Registry
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.document_flow import DocumentFlow, Ranking, Services
from gatehouse_server.transport.document_stream import DocumentCall, DocumentStream
from gatehouse_server.transport.documents import DocumentEncoder
from gatehouse_server.transport.fields import check_model
from gatehouse_server.transport.parts import PartAssembler

MAX_DOCUMENTS_PER_CALL = 1000
"""The most documents of one unary call: its answer has to fit into one message."""


class OfflineServicer(offline_pb2_grpc.OfflineServiceServicer):
    """Classifies documents. Failures of a whole call leave as exceptions; see `interceptor`."""

    def __init__(self, *, registry: Registry, services: Services, departure: Departure) -> None:
        self._registry = registry
        self._services = services
        self._departure = departure

    async def Classify(  # noqa: N802
        self,
        request: offline_pb2.ClassifyRequest,
        context: grpc.aio.ServicerContext[offline_pb2.ClassifyRequest, offline_pb2.ClassifyResponse],
    ) -> offline_pb2.ClassifyResponse:
        """The documents of one message; results in their order."""
        encoder, ranking = self._prepare(request.model, request.options)
        _check_whole(request)
        response = offline_pb2.ClassifyResponse()
        for _ in request.documents:
            response.results.add()
        changed = asyncio.Event()

        def has_room() -> bool:
            return flow.unanswered < self._services.limits.max_in_flight

        async def room() -> None:
            while not has_room():
                changed.clear()
                await changed.wait()

        flow = DocumentFlow(
            self._services,
            encoder=encoder,
            assembler=self._assembler(request.options),
            ranking=ranking,
            deadline_seconds=self._deadline_seconds(context.time_remaining()),
            place=lambda number: response.results[number],
            flushed=changed.set,
            has_room=has_room,
            room=room,
        )
        try:
            await flow.take(request.documents)
            while flow.unanswered:
                changed.clear()
                await changed.wait()
        finally:
            flow.leave()
        return response

    async def ClassifyStream(  # type: ignore[override]  # read() and write() instead of iterators  # noqa: N802
        self,
        request_iterator: AsyncIterator[offline_pb2.ClassifyStreamRequest],
        context: grpc.aio.ServicerContext[
            offline_pb2.ClassifyStreamRequest, offline_pb2.ClassifyStreamResponse
        ],
    ) -> None:
        """Documents in, results out as they finish."""
        call = cast(DocumentCall, context)
        first = await self._departure.unless_leaving(call.read())
        if not isinstance(first, offline_pb2.ClassifyStreamRequest):
            return
        encoder, ranking = self._prepare(first.model, first.options)
        stream = DocumentStream(
            call,
            self._services,
            first=first,
            encoder=encoder,
            assembler=self._assembler(first.options),
            ranking=ranking,
            deadline_seconds=self._deadline_seconds(call.time_remaining()),
        )
        await stream.converse(self._departure)

    def _prepare(self, name: str, options: offline_pb2.ClassifyOptions) -> tuple[DocumentEncoder, Ranking]:
        check_model(name)
        model = self._registry.get(name)
        encoder = DocumentEncoder(
            model, max_document_steps=self._services.limits.max_document_steps, truncate=options.truncate
        )
        most = len(model.labels)
        k = options.k if options.HasField("k") else most
        if not 1 <= k <= most:
            raise InvalidInput.of_field(
                "options.k",
                f"expected 1 to {most}, the labels of {model.key}, got {k}",
                reason="K_OUT_OF_RANGE",
            )
        return encoder, Ranking(labels=model.labels, k=k)

    def _assembler(self, options: offline_pb2.ClassifyOptions) -> PartAssembler:
        return PartAssembler(
            max_document_bytes=self._services.limits.max_document_bytes, truncate=options.truncate
        )

    def _deadline_seconds(self, remaining_seconds: float | None) -> float | None:
        if remaining_seconds is None:
            return None
        if remaining_seconds <= 0:
            raise DeadlineExpired
        return self._services.engine.clock() + remaining_seconds


def _check_whole(request: offline_pb2.ClassifyRequest) -> None:
    if not request.documents:
        raise InvalidInput.of_field(
            "documents", "expected at least one document, got none", reason="EMPTY_INPUT"
        )
    if len(request.documents) > MAX_DOCUMENTS_PER_CALL:
        raise InvalidInput.of_field(
            "documents",
            f"expected at most {MAX_DOCUMENTS_PER_CALL} documents, got {len(request.documents)}. "
            "Send more with ClassifyStream",
            reason="INPUT_TOO_LONG",
        )
    for index, document in enumerate(request.documents):
        if document.part or document.more:
            raise InvalidInput.of_field(
                f"documents[{index}].{'more' if document.more else 'part'}",
                "expected whole documents. Send parts with ClassifyStream",
                reason="PART_OUT_OF_ORDER",
            )
