"""Spans on a clock of the test's: where each stage begins and how long it takes."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass

import pytest
from gatehouse_server.errors import TapeFull
from gatehouse_server.sessions.results import SessionState, Timing, WriteResult
from gatehouse_server.telemetry.call_trace import Stage
from gatehouse_server.telemetry.otel_traces import OtelTraces
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

METHOD = "gatehouse.v1.OnlineService/Write"
SECOND = 1_000_000_000
MIDNIGHT = 1_000 * SECOND
STATE = SessionState(1, 2, 3, 0, 0, 60.0)
WRITTEN = WriteResult("mine", STATE, Timing(0.25, 0.5), (), None, None, False, (), ())


@dataclass(frozen=True)
class Asked:
    """An operation of a stream."""

    kind: str | None
    received_seconds: float


class Traced:
    """Traces in memory, on a clock that starts at 100 s when it is 1000 s of the day."""

    def __init__(self, sampler: Sampler = ALWAYS_ON, stream_seconds: float = 1.0) -> None:
        self.now_seconds = 100.0
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.traces = OtelTraces(
            provider,
            version="1",
            stream_seconds=stream_seconds,
            clock=lambda: self.now_seconds,
            wall_clock_ns=lambda: MIDNIGHT,
        )

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """What has ended."""
        return self._exporter.get_finished_spans()


def stages(span: ReadableSpan) -> list[tuple[str, float, float]]:
    """Name, beginning in seconds of the day, and length of each stage."""
    told = []
    for event in span.events:
        assert event.attributes is not None
        seconds = event.attributes["gatehouse.seconds"]
        assert isinstance(seconds, float)
        told.append((event.name, event.timestamp / SECOND, seconds))
    return told


@pytest.mark.parametrize(
    "header",
    [
        ("baggage", "the user wrote this"),
        ("traceparent", "the user wrote this"),
        ("tracestate", "the user wrote this,=,"),
    ],
)
def test_headers_are_not_quoted_in_the_log(header: tuple[str, str]) -> None:
    """OpenTelemetry would, for each call, and anybody may send them."""
    parent = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    try:
        assert Traced().traces.begin(METHOD, (parent, header)) is not None
    finally:
        logging.getLogger().removeHandler(handler)
    assert log.getvalue() == ""


def test_the_stages_of_a_call_begin_where_the_one_before_ends() -> None:
    """The queue when the request was read, the tick after the wait, publishing until the call's end."""
    traced = Traced()
    call = traced.traces.begin(METHOD, None)
    assert call is not None
    traced.now_seconds = 101.0
    call.answered(WRITTEN, 100.125)
    call.end(0, is_fault=False)
    (span,) = traced.spans
    assert stages(span) == [
        ("queue", 1000.125, 0.25),
        ("tick", 1000.375, 0.5),
        ("publish", 1000.875, 0.125),
    ]
    assert (span.start_time, span.end_time) == (MIDNIGHT, MIDNIGHT + SECOND)


def test_an_operation_of_a_stream_is_traced_when_one_is_due() -> None:
    """The first, and then the first that is answered after the pause; a refused one is passed over."""
    traced = Traced(stream_seconds=1.0)
    call = traced.traces.begin(METHOD.replace("Write", "Stream"), None)
    assert call is not None
    refused = (Asked("write", 100.0), TapeFull("full"))
    for answered_seconds in (101.0, 101.5, 102.0, 102.5):
        written = (Asked("write", answered_seconds - 1), WRITTEN)
        call.operations([refused, written, written], answered_seconds)
    assert [(span.name, span.start_time) for span in traced.spans] == [
        ("write", MIDNIGHT),
        ("write", MIDNIGHT + SECOND),
    ]
    assert stages(traced.spans[0])[-1] == ("publish", 1000.75, 0.25)


def test_a_part_of_a_call_has_a_span_when_one_is_due() -> None:
    """Below the call's, with the stages and facts that it brings; the call's own are told at its end."""
    traced = Traced(stream_seconds=1.0)
    call = traced.traces.begin(METHOD.replace("Write", "Transduce"), None)
    assert call is not None
    for received_seconds in (100.0, 100.5, 101.0):
        call.part(
            "document",
            (
                Stage("queue", received_seconds),
                Stage("batch", received_seconds + 0.25, {"compute_seconds": 0.125}),
            ),
            received_seconds + 1,
            {"steps": 7},
        )
    call.stages((Stage("queue", 100.0),), {"documents": 3})
    traced.now_seconds = 103.0
    call.end(0, is_fault=False)
    *parts, whole = traced.spans
    assert [(part.name, part.start_time, part.end_time) for part in parts] == [
        ("document", MIDNIGHT, MIDNIGHT + SECOND),
        ("document", MIDNIGHT + SECOND, MIDNIGHT + 2 * SECOND),
    ]
    assert stages(parts[0]) == [("queue", 1000.0, 0.25), ("batch", 1000.25, 0.75)]
    assert parts[0].events[1].attributes == {"gatehouse.seconds": 0.75, "gatehouse.compute_seconds": 0.125}
    assert parts[0].attributes == {"gatehouse.steps": 7}
    assert parts[0].parent is not None
    assert parts[0].parent.span_id == whole.get_span_context().span_id  # type: ignore[union-attr]
    assert stages(whole) == [("queue", 1000.0, 3.0)]
    assert whole.attributes is not None
    assert whole.attributes["gatehouse.documents"] == 3


def test_a_call_that_is_not_sampled_has_no_trace() -> None:
    """Streams then need not even look at their answers."""
    assert Traced(ALWAYS_OFF).traces.begin(METHOD, None) is None


@pytest.mark.parametrize("is_fault", [False, True])
def test_a_span_tells_how_the_call_ended(is_fault: bool) -> None:
    """By its code, and as an error when the server is at fault. With no message, which may quote texts."""
    traced = Traced()
    call = traced.traces.begin(METHOD, None)
    assert call is not None
    call.end(14, is_fault=is_fault)
    (span,) = traced.spans
    assert (span.status.status_code is trace.StatusCode.ERROR) == is_fault
    assert span.status.description is None
    assert span.attributes is not None
    assert span.attributes["rpc.grpc.status_code"] == 14
