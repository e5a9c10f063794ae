"""OfflineService: whole documents over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import cast

import grpc.aio
from gatehouse.v1 import offline_pb2, offline_pb2_grpc

from gatehouse_server.errors import DeadlineExpired, InvalidInput
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.registry import Registry
from gatehouse_server.transport.collected_results import CollectedResults
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.document_flow import DocumentFlow
from gatehouse_server.transport.document_form import DocumentForm, form_of
from gatehouse_server.transport.document_results import DocumentTeller
from gatehouse_server.transport.document_services import Services
from gatehouse_server.transport.document_stream import DocumentCall, DocumentStream, Request, Response
from gatehouse_server.transport.documents import DocumentEncoder, ResultForm
from gatehouse_server.transport.fields import check_model
from gatehouse_server.transport.message_size import MAX_RESULT_BYTES
from gatehouse_server.transport.parts import PartAssembler
from gatehouse_server.transport.result_teller import AnswerT, ResultT, ResultTeller
from gatehouse_server.transport.transduction import TransductionTeller, transduction_form

Options = offline_pb2.ClassifyOptions | offline_pb2.TransduceOptions

MAX_DOCUMENTS_PER_CALL = 1000
"""The most documents of one unary call: its answer has to fit into one message."""


class OfflineServicer(offline_pb2_grpc.OfflineServiceServicer):
    """Reads documents. Failures of a whole call leave as exceptions; see `interceptor`."""

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
        model = self._model(request.model)
        form = self._form(model, request.options)
        encoder = self._encoder(model, request.options, form)
        _check_whole(request)
        results = CollectedResults(len(request.documents))
        flow = DocumentFlow(
            self._services,
            encoder=encoder,
            assembler=self._assembler(request.options),
            teller=DocumentTeller(form),
            deadline_seconds=self._deadline_seconds(context.time_remaining()),
            desk=results,
            most_result_bytes=MAX_RESULT_BYTES,
        )
        results.has_room = lambda: flow.unanswered < self._services.limits.max_in_flight
        with self._registry.use(model):
            try:
                await flow.take(request.documents)
                await results.room(lambda: not flow.unanswered)
            finally:
                flow.leave()
        return results.response

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
        model = self._model(first.model)
        form = self._form(model, first.options)
        encoder = self._encoder(model, first.options, form)
        with self._registry.use(model):
            await self._converse(
                call, first, offline_pb2.ClassifyStreamResponse, encoder, DocumentTeller(form)
            )

    async def Transduce(  # type: ignore[override]  # as above  # noqa: N802
        self,
        request_iterator: AsyncIterator[offline_pb2.TransduceRequest],
        context: grpc.aio.ServicerContext[offline_pb2.TransduceRequest, offline_pb2.TransduceResponse],
    ) -> None:
        """Documents in, what is written of them out, as they finish."""
        call = cast(DocumentCall, context)
        first = await self._departure.unless_leaving(call.read())
        if not isinstance(first, offline_pb2.TransduceRequest):
            return
        model = self._model(first.model)
        form = transduction_form(model, first.options, self._services.limits)
        encoder = self._encoder(model, first.options, form)
        with self._registry.use(model):
            await self._converse(
                call, first, offline_pb2.TransduceResponse, encoder, TransductionTeller(form)
            )

    async def _converse(
        self,
        call: DocumentCall,
        first: Request,
        new_response: Callable[[], Response],
        encoder: DocumentEncoder,
        teller: ResultTeller[ResultT, AnswerT],
    ) -> None:
        stream = DocumentStream(
            call,
            self._services,
            first=first,
            new_response=new_response,
            encoder=encoder,
            assembler=self._assembler(first.options),
            teller=teller,
            deadline_seconds=self._deadline_seconds(call.time_remaining()),
        )
        await stream.converse(self._departure)

    def _model(self, name: str) -> LoadedModel:
        """The model that a call stays on, whatever is loaded or unloaded meanwhile."""
        check_model(name)
        return self._registry.get(name)

    def _form(self, model: LoadedModel, options: offline_pb2.ClassifyOptions) -> DocumentForm:
        return form_of(model, options, max_output_bytes=self._services.limits.max_output_bytes)

    def _encoder(self, model: LoadedModel, options: Options, form: ResultForm) -> DocumentEncoder:
        limits = self._services.limits
        return DocumentEncoder(
            model,
            max_document_steps=limits.max_document_steps,
            truncate=options.truncate,
            form=form,
            max_output_bytes=limits.max_output_bytes,
        )

    def _assembler(self, options: Options) -> PartAssembler:
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
