"""Around every call: exceptions become statuses, its code and duration are counted, and it has a span if wanted."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import grpc
import grpc.aio

from gatehouse_server.panics import as_defect
from gatehouse_server.telemetry.call_trace import CallTrace, Traces, set_current_trace
from gatehouse_server.telemetry.request_metrics import RequestMetrics
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.receiving import Receiving
from gatehouse_server.transport.status import CALL_OVER, abort_with, code_name, end_trace, ended_by

_OURS = "gatehouse."

Behaviour = Callable[[Any, Any], Any]

_NAMES = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


class _Began(NamedTuple):
    """A call that is open: since when, and its span."""

    seconds: float
    trace: CallTrace | None


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of all four kinds of calls, whether they yield their answers or write them."""

    def __init__(
        self,
        metrics: RequestMetrics,
        departure: Departure,
        traces: Traces | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._metrics = metrics
        self._departure = departure
        self._traces = traces
        self._clock = clock

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a call, wrapped.

        A method that does not exist has none: gRPC answers, and it is counted without its name, so that a stranger
        cannot invent values of labels.
        """
        handler = await continuation(handler_call_details)
        if handler is None:
            self._metrics.unreadable("unknown_method")
            return handler
        name = _NAMES[handler.request_streaming, handler.response_streaming]
        behaviour: Behaviour = getattr(handler, name)
        method = handler_call_details.method.removeprefix("/")
        receiving = Receiving(handler.request_deserializer, self._metrics)
        wrapped = (
            self._yielding(behaviour, method, None if handler.request_streaming else receiving)
            if inspect.isasyncgenfunction(behaviour)
            else self._returning(behaviour, method, None if handler.request_streaming else receiving)
        )
        # A call with one request is handled as one with many. gRPC would read the request before it calls us, and would
        # not call when it is none, or too large.
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return make(
            wrapped,
            request_deserializer=receiving.decoded if handler.request_streaming else None,
            response_serializer=handler.response_serializer,
        )

    def _returning(self, behaviour: Behaviour, method: str, receiving: Receiving | None) -> Behaviour:
        async def call(request: Any, context: Any) -> Any:
            began = self._began(method, context)
            cancelled = False
            try:
                if receiving is not None:
                    request = await receiving.only(context)
                with self._open(method):
                    return await behaviour(request, context)
            except CALL_OVER as error:
                cancelled = True
                raise asyncio.CancelledError from error  # of a write that failed gRPC would log a traceback
            except grpc.aio.AbortError:
                raise
            except BaseException as failure:
                await abort_with(context, as_defect(failure))
            finally:
                self._count(method, context, began, cancelled)

        return call

    def _yielding(self, behaviour: Behaviour, method: str, receiving: Receiving | None) -> Behaviour:
        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            began = self._began(method, context)
            cancelled = False
            try:
                if receiving is not None:
                    request = await receiving.only(context)
                with self._open(method):
                    async for response in behaviour(request, context):
                        yield response
            except (asyncio.CancelledError, GeneratorExit):
                cancelled = True
                raise
            except grpc.aio.AbortError:
                raise
            except BaseException as failure:
                await abort_with(context, as_defect(failure))
            finally:
                self._count(method, context, began, cancelled)

        return call

    def _open(self, method: str) -> AbstractContextManager[None]:
        # Watching health may go on for ever; only our own calls are worth waiting for.
        return self._departure.call() if method.startswith(_OURS) else nullcontext()

    def _began(self, method: str, context: Any) -> _Began:
        trace = None
        if self._traces is not None and method.startswith(_OURS):
            trace = self._traces.begin(method, context.invocation_metadata())
            set_current_trace(trace)
        self._metrics.began(method)
        return _Began(self._clock(), trace)

    def _count(self, method: str, context: Any, began: _Began, cancelled: bool) -> None:
        code = ended_by(context.time_remaining()).name if cancelled else code_name(context.code())
        self._metrics.request(method, code, self._clock() - began.seconds)
        if began.trace is not None:
            end_trace(began.trace, code)
