"""Spans of calls with OpenTelemetry. Imported only when traces are on.

Attributes follow OpenTelemetry's conventions for RPC. None has anything of what users wrote: no texts, no tokens, no
messages of errors, which may quote them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from opentelemetry import propagate
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from gatehouse_server.sessions.results import SuggestResult, Timing, WriteResult
from gatehouse_server.telemetry.call_trace import Asked, Facts, Metadata, Stage


class OtelTraces:
    """Makes spans. Of a stream, one operation or document has a span each `stream_seconds`; 0 for each of them.

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
        # Baggage is for others along the way, which the server does not call.
        self._carries = propagate.get_global_textmap().fields - {"baggage"}
        _keep_headers_out_of_the_log()

    def begin(self, method: str, metadata: Metadata | None) -> OtelCallTrace | None:
        """The span of a call to `package.Service/Method`, below the caller's if the metadata names one."""
        carried = {
            key: text for key, text in metadata or () if key in self._carries and isinstance(text, str)
        }
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
        self._stages: Sequence[Stage] = ()

    @property
    def trace_id(self) -> str:
        """The trace's number, 32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def answered(self, outcome: object, received_seconds: float) -> None:
        """Remembers the stages; the last one ends with the call."""
        if isinstance(outcome, WriteResult | SuggestResult):
            self.stages(_stages_of(received_seconds, outcome.timing), {"session_id": outcome.session_id})

    def operations(self, answers: Iterable[tuple[Asked, object]], answered_seconds: float) -> None:
        """Gives a span to operations for which one is due: seldom more than one of a tick.

        What was refused has no stages, and no span.
        """
        for asked, outcome in answers:
            if answered_seconds < self._due_seconds:
                return
            if isinstance(outcome, WriteResult | SuggestResult):
                stages = _stages_of(asked.received_seconds, outcome.timing)
                facts = {"session_id": outcome.session_id}
                self.part(asked.kind or "operation", stages, answered_seconds, facts)

    def stages(self, stages: Sequence[Stage], facts: Facts) -> None:
        """Remembers the stages; the last one ends with the call."""
        self._stages = stages
        self._span.set_attributes(_attributes(facts))

    def part(self, name: str, stages: Sequence[Stage], ended_seconds: float, facts: Facts) -> None:
        """Gives a span to it if one is due."""
        if ended_seconds < self._due_seconds:
            return
        self._due_seconds = ended_seconds + self._stream_seconds
        span = self._tracer.start_span(
            name,
            context=set_span_in_context(self._span),
            attributes=_attributes(facts),
            start_time=self._ns(stages[0].began_seconds),
        )
        self._tell_stages(span, stages, ended_seconds)
        span.end(self._ns(ended_seconds))

    def end(self, code: int, *, is_fault: bool) -> None:
        """Ends the span."""
        ended_seconds = self._clock()
        self._tell_stages(self._span, self._stages, ended_seconds)
        self._span.set_attribute("rpc.grpc.status_code", code)
        if is_fault:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(self._ns(ended_seconds))

    def _tell_stages(self, span: Span, stages: Sequence[Stage], ended_seconds: float) -> None:
        """An event where each stage begins, with how long it took. They follow each other without a gap."""
        ends = [stage.began_seconds for stage in stages[1:]] + [ended_seconds]
        for stage, to_seconds in zip(stages, ends, strict=False):  # there may be none
            facts = {"seconds": to_seconds - stage.began_seconds, **stage.facts}
            span.add_event(stage.name, _attributes(facts), self._ns(stage.began_seconds))

    def _ns(self, seconds: float) -> int:
        return self._offset_ns + round(seconds * 1e9)


def _keep_headers_out_of_the_log() -> None:
    """OpenTelemetry's API quotes each header that it cannot read, which anybody may send at any rate."""
    for name in ("opentelemetry.baggage", "opentelemetry.propagators", "opentelemetry.trace"):
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def _stages_of(received_seconds: float, timing: Timing) -> tuple[Stage, ...]:
    """Those of a write or a suggestion."""
    began_seconds = received_seconds + timing.queue_seconds
    return (
        Stage("queue", received_seconds),
        Stage("tick", began_seconds),
        Stage("publish", began_seconds + timing.compute_seconds),
    )


def _attributes(facts: Facts) -> dict[str, str | int | float]:
    return {f"gatehouse.{name}": fact for name, fact in facts.items()}
