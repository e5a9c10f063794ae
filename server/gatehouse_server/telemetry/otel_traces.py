"""Spans of calls with OpenTelemetry. Imported only when traces are on.

Attributes follow OpenTelemetry's conventions for RPC. None has anything of what users wrote: no texts, no tokens, no
messages of errors, which may quote them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from opentelemetry import propagate
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from gatehouse_server.sessions.results import SuggestResult, Timing, WriteResult
from gatehouse_server.telemetry.call_trace import Asked, Metadata


class OtelTraces:
    """Makes spans. Of a stream, one operation has a span each `stream_seconds`; 0 for each operation.

    `clock` has to be the engine's: stages are told in its time.
    """

    def __init__(
        self,
        provider: TracerProvider,
        *,
        version: str,
        stream_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._tracer = provider.get_tracer("gatehouse", version)
        self._stream_seconds = stream_seconds
        self._clock = clock
        self._wall_clock_ns = wall_clock_ns

    def begin(self, method: str, metadata: Metadata | None) -> OtelCallTrace | None:
        """The span of a call to `package.Service/Method`, below the caller's if the metadata names one."""
        carried = {key: text for key, text in metadata or () if isinstance(text, str)}
        service, _, name = method.rpartition("/")
        began_seconds, began_ns = self._clock(), self._wall_clock_ns()
        span = self._tracer.start_span(
            method,
            context=propagate.extract(carried) if carried else None,
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
            start_time=began_ns,
        )
        if not span.is_recording():
            return None
        return OtelCallTrace(
            self._tracer,
            span,
            began_ns - round(began_seconds * 1e9),
            clock=self._clock,
            stream_seconds=self._stream_seconds,
        )


class OtelCallTrace:
    """The span of one call. `offset_ns` makes times of the day of the clock's."""

    __slots__ = ("_clock", "_due_seconds", "_offset_ns", "_span", "_stages", "_stream_seconds", "_tracer")

    def __init__(
        self, tracer: Tracer, span: Span, offset_ns: int, *, clock: Callable[[], float], stream_seconds: float
    ) -> None:
        self._tracer = tracer
        self._span = span
        self._offset_ns = offset_ns
        self._clock = clock
        self._stream_seconds = stream_seconds
        self._due_seconds = 0.0
        self._stages: tuple[float, Timing] | None = None

    @property
    def trace_id(self) -> str:
        """The trace's number, 32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def answered(self, outcome: object, received_seconds: float) -> None:
        """Remembers the stages; the last one ends with the call."""
        if isinstance(outcome, WriteResult | SuggestResult):
            self._span.set_attribute("gatehouse.session_id", outcome.session_id)
            self._stages = received_seconds, outcome.timing

    def operations(self, answers: Iterable[tuple[Asked, object]], answered_seconds: float) -> None:
        """Gives a span to operations for which one is due: seldom more than one of a tick.

        What was refused has no stages, and no span.
        """
        for asked, outcome in answers:
            if answered_seconds < self._due_seconds:
                return
            if isinstance(outcome, WriteResult | SuggestResult):
                self._due_seconds = answered_seconds + self._stream_seconds
                self._tell_operation(asked, outcome, answered_seconds)

    def end(self, code: int, *, is_fault: bool) -> None:
        """Ends the span."""
        ended_seconds = self._clock()
        if self._stages is not None:
            self._tell_stages(self._span, *self._stages, ended_seconds)
        self._span.set_attribute("rpc.grpc.status_code", code)
        if is_fault:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(self._ns(ended_seconds))

    def _tell_operation(
        self, asked: Asked, outcome: WriteResult | SuggestResult, answered_seconds: float
    ) -> None:
        span = self._tracer.start_span(
            asked.kind or "operation",
            context=set_span_in_context(self._span),
            attributes={"gatehouse.session_id": outcome.session_id},
            start_time=self._ns(asked.received_seconds),
        )
        self._tell_stages(span, asked.received_seconds, outcome.timing, answered_seconds)
        span.end(self._ns(answered_seconds))

    def _tell_stages(
        self, span: Span, received_seconds: float, timing: Timing, answered_seconds: float
    ) -> None:
        """An event where each stage begins, with how long it took. They follow each other without a gap."""
        began_seconds = received_seconds + timing.queue_seconds
        computed_seconds = began_seconds + timing.compute_seconds
        for stage, from_seconds, to_seconds in (
            ("queue", received_seconds, began_seconds),
            ("tick", began_seconds, computed_seconds),
            ("publish", computed_seconds, answered_seconds),
        ):
            span.add_event(stage, {"gatehouse.seconds": to_seconds - from_seconds}, self._ns(from_seconds))

    def _ns(self, seconds: float) -> int:
        return self._offset_ns + round(seconds * 1e9)
