"""OnlineService: sessions over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar, cast

import grpc.aio
from gatehouse.v1 import online_pb2, online_pb2_grpc

from gatehouse_server.engine.loop import Engine
from gatehouse_server.engine.observer import Observer
from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions.results import SessionExport, SessionView, SuggestResult, WriteResult
from gatehouse_server.telemetry.request_metrics import Operation, RequestMetrics
from gatehouse_server.transport.decoding import decode_suggestion, decode_timeout, decode_write
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.encoding import (
    fill_export,
    fill_session,
    fill_suggest_result,
    fill_write_result,
)
from gatehouse_server.transport.generation import Generation, GenerationCall
from gatehouse_server.transport.generation_decoding import GenerationLimits, decode_generation
from gatehouse_server.transport.identity import CalledBy, client_of
from gatehouse_server.transport.online_stream import OnlineStream, StreamCall, StreamLimits
from gatehouse_server.transport.output_sizes import OutputSizes
from gatehouse_server.transport.replies import ask, shortest
from gatehouse_server.transport.session_decoding import (
    decode_creation,
    decode_deletion,
    decode_export,
    decode_fork,
    decode_get,
    decode_import,
)
from gatehouse_server.transport.status import CALL_OVER, code_of, ended_by

Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Request, Response]


class OnlineServicer(online_pb2_grpc.OnlineServiceServicer):
    """Hands operations to the engine, answers back. Failures leave as exceptions, see `interceptor`."""

    def __init__(
        self,
        *,
        engine: Engine,
        observer: Observer,
        metrics: RequestMetrics,
        departure: Departure,
        limits: StreamLimits,
        sizes: OutputSizes,
        generation_limits: GenerationLimits,
    ) -> None:
        self._engine = engine
        self._observer = observer
        self._metrics = metrics
        self._departure = departure
        self._limits = limits
        self._sizes = sizes
        self._generation_limits = generation_limits

    async def Stream(  # type: ignore[override]  # read() and write() instead of iterators: twice as fast  # noqa: N802
        self,
        request_iterator: AsyncIterator[online_pb2.StreamRequest],
        context: Context[online_pb2.StreamRequest, online_pb2.StreamResponse],
    ) -> None:
        """Any number of operations for any number of sessions."""
        stream = OnlineStream(
            cast(StreamCall, context),
            engine=self._engine,
            limits=self._limits,
            sizes=self._sizes,
            observer=self._observer,
            metrics=self._metrics,
            client=client_of(cast(CalledBy, context)),
        )
        await stream.converse(self._departure)

    async def Write(  # noqa: N802
        self,
        request: online_pb2.WriteRequest,
        context: Context[online_pb2.WriteRequest, online_pb2.WriteResponse],
    ) -> online_pb2.WriteResponse:
        """One write."""
        if not request.HasField("write"):
            raise InvalidInput.of_field("write", "expected a write, got nothing")
        limits = self._limits
        write = decode_write(
            request.write, max_text_bytes=limits.max_text_bytes, max_write_steps=limits.max_write_steps
        )
        timeout_seconds = decode_timeout(request.write)
        outcome = await self._ask("write", write, context, timeout_seconds)
        assert isinstance(outcome, WriteResult)
        response = online_pb2.WriteResponse()
        fill_write_result(response.result, outcome)
        return response

    async def Suggest(  # noqa: N802
        self,
        request: online_pb2.SuggestRequest,
        context: Context[online_pb2.SuggestRequest, online_pb2.SuggestResponse],
    ) -> online_pb2.SuggestResponse:
        """The likeliest next words."""
        if not request.HasField("suggest"):
            raise InvalidInput.of_field("suggest", "expected a suggestion, got nothing")
        suggestion = decode_suggestion(request.suggest, max_text_bytes=self._limits.max_text_bytes)
        timeout_seconds = decode_timeout(request.suggest)
        outcome = await self._ask("suggest", suggestion, context, timeout_seconds)
        assert isinstance(outcome, SuggestResult)
        response = online_pb2.SuggestResponse()
        fill_suggest_result(response.result, outcome)
        return response

    async def Generate(  # type: ignore[override]  # as Stream  # noqa: N802
        self,
        request: online_pb2.GenerateRequest,
        context: Context[online_pb2.GenerateRequest, online_pb2.GenerateResponse],
    ) -> None:
        """Continues a sequence."""
        with self._told("generate", context):
            operation, sampling = decode_generation(request, self._generation_limits)
            generation = Generation(
                cast(GenerationCall, context),
                operation,
                sampling,
                engine=self._engine,
                observer=self._observer,
                client=client_of(cast(CalledBy, context)),
                told_first=partial(self._metrics.first_result, "generate"),
            )
            await generation.run()

    async def CreateSession(  # noqa: N802
        self,
        request: online_pb2.CreateSessionRequest,
        context: Context[online_pb2.CreateSessionRequest, online_pb2.CreateSessionResponse],
    ) -> online_pb2.CreateSessionResponse:
        """Starts a session."""
        outcome = await self._ask("session", decode_creation(request), context)
        assert isinstance(outcome, SessionView)
        response = online_pb2.CreateSessionResponse()
        fill_session(response.session, outcome)
        return response

    async def GetSession(  # noqa: N802
        self,
        request: online_pb2.GetSessionRequest,
        context: Context[online_pb2.GetSessionRequest, online_pb2.GetSessionResponse],
    ) -> online_pb2.GetSessionResponse:
        """Where a session stands."""
        outcome = await self._ask("session", decode_get(request), context)
        assert isinstance(outcome, SessionView)
        response = online_pb2.GetSessionResponse()
        fill_session(response.session, outcome)
        return response

    async def ForkSession(  # noqa: N802
        self,
        request: online_pb2.ForkSessionRequest,
        context: Context[online_pb2.ForkSessionRequest, online_pb2.ForkSessionResponse],
    ) -> online_pb2.ForkSessionResponse:
        """Starts a session from another one."""
        outcome = await self._ask("session", decode_fork(request), context)
        assert isinstance(outcome, SessionView)
        response = online_pb2.ForkSessionResponse()
        fill_session(response.session, outcome)
        return response

    async def ExportSession(  # noqa: N802
        self,
        request: online_pb2.ExportSessionRequest,
        context: Context[online_pb2.ExportSessionRequest, online_pb2.ExportSessionResponse],
    ) -> online_pb2.ExportSessionResponse:
        """A session as bytes."""
        outcome = await self._ask("session", decode_export(request), context)
        assert isinstance(outcome, SessionExport)
        response = online_pb2.ExportSessionResponse()
        fill_export(response, outcome)
        return response

    async def ImportSession(  # noqa: N802
        self,
        request: online_pb2.ImportSessionRequest,
        context: Context[online_pb2.ImportSessionRequest, online_pb2.ImportSessionResponse],
    ) -> online_pb2.ImportSessionResponse:
        """Starts a session from an export."""
        outcome = await self._ask("session", decode_import(request), context)
        assert isinstance(outcome, SessionView)
        response = online_pb2.ImportSessionResponse()
        fill_session(response.session, outcome)
        return response

    async def DeleteSession(  # noqa: N802
        self,
        request: online_pb2.DeleteSessionRequest,
        context: Context[online_pb2.DeleteSessionRequest, online_pb2.DeleteSessionResponse],
    ) -> online_pb2.DeleteSessionResponse:
        """Ends a session."""
        await self._ask("session", decode_deletion(request), context)
        return online_pb2.DeleteSessionResponse()

    async def _ask(
        self,
        kind: Operation,
        operation: object,
        context: grpc.aio.ServicerContext[Request, Response],
        timeout_seconds: float | None = None,
    ) -> object:
        with self._told(kind, context) as told:
            outcome = await ask(
                self._engine,
                self._observer,
                operation,
                remaining_seconds=shortest(timeout_seconds, context.time_remaining()),
                client=client_of(cast(CalledBy, context)),
            )
            if isinstance(outcome, WriteResult | SuggestResult):
                told.append((outcome.timing.queue_seconds, outcome.timing.compute_seconds))
            return outcome

    @contextmanager
    def _told(
        self, kind: Operation, context: grpc.aio.ServicerContext[Request, Response]
    ) -> Iterator[list[tuple[float, float]]]:
        """Around an operation: counts it, with its code and how long it took, in which stages if that is told."""
        began_seconds = self._engine.clock()
        code = "OK"
        stages: list[tuple[float, float]] = []
        try:
            yield stages
        except CALL_OVER:  # the caller left, or its deadline has passed
            code = ended_by(context.time_remaining()).name
            raise
        except BaseException as error:
            code = code_of(error).name
            raise
        finally:
            seconds = (self._engine.clock() - began_seconds,)
            self._metrics.answered(kind, code, seconds, stages[0] if stages else None)
