"""Traces of a whole server, sent over OTLP to a collector."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import grpc
import pytest
from gatehouse import Client, aio, errors
from gatehouse.v1 import online_pb2, online_pb2_grpc
from gatehouse_server.transport.models import ModelServicer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import TracerProvider

from tests.app.collector import Collector, attributes
from tests.app.traced_server import events, serving
from tests.tiny import write_tiny_classifier, write_tiny_transducer

SECRET = "damn good thing"


def seconds_of(span: Span) -> dict[str, float]:
    """How long each stage took, by name."""
    return {event.name: attributes(event.attributes)["gatehouse.seconds"] for event in span.events}


def assert_stages_fill(span: Span, *stages: str) -> None:
    """Queue, tick and publish, or others, follow each other to the span's end; before them the request is only
    decoded.
    """
    assert [event.name for event in span.events] == list(stages or ("queue", "tick", "publish"))
    ends = [*[event.time_unix_nano for event in span.events][1:], span.end_time_unix_nano]
    for event, end in zip(span.events, ends, strict=True):
        assert attributes(event.attributes)["gatehouse.seconds"] * 1e9 == pytest.approx(
            end - event.time_unix_nano, abs=2_000
        )
    assert span.start_time_unix_nano <= span.events[0].time_unix_nano
    assert min(seconds_of(span).values()) >= 0


async def test_each_call_has_a_span(two_models: Path, collector: Collector) -> None:
    """Named for its method, with service, method and status code; what was the caller's fault is no error of ours."""
    async with serving(two_models) as target, aio.Client(target) as client:
        session = await client.session("keyboard", session_id="mine")
        await session.append(tokens=[2, 3])
        with pytest.raises(errors.SessionNotFoundError):
            await client.attach("nobody")
        await client.classify_batch([("a", "star and galaxy")], model="topics")
        async with client.stream() as stream:
            await (await stream.attach("mine")).append(tokens=[4])
    (written,) = collector.spans_of("Write")
    assert written.name == "gatehouse.v1.OnlineService/Write"
    assert written.kind == Span.SPAN_KIND_SERVER
    told = attributes(written.attributes)
    assert told == {
        "rpc.system": "grpc",
        "rpc.service": "gatehouse.v1.OnlineService",
        "rpc.method": "Write",
        "rpc.grpc.status_code": 0,
        "gatehouse.session_id": "mine",
    }
    missed, found = collector.spans_of("GetSession")
    codes = [attributes(span.attributes)["rpc.grpc.status_code"] for span in (missed, found)]
    assert codes == [grpc.StatusCode.NOT_FOUND.value[0], 0]
    assert missed.status.code == Status.STATUS_CODE_UNSET
    assert len(collector.spans_of("Classify")) == len(collector.spans_of("Stream")) == 1
    assert collector.resource["service.name"] == "gatehouse"


async def test_the_stages_of_a_write_fill_its_span(two_models: Path, collector: Collector) -> None:
    """And a stream's operations have spans below the stream's, likewise, as many as are asked for."""
    async with serving(two_models, trace_stream_seconds=0) as target, aio.Client(target) as client:
        session = await client.session("keyboard")
        await session.append(tokens=[2, 3, 4] * 20)
        await client.suggest("how are y", model="keyboard")
        async with client.stream() as stream:
            over_stream = await stream.session("keyboard")
            for token in range(2, 7):
                await over_stream.append(tokens=[token])
    (unary,) = collector.spans_of("Write")
    assert_stages_fill(unary)
    (suggested,) = collector.spans_of("Suggest")
    assert_stages_fill(suggested)
    assert seconds_of(unary)["tick"] > 0
    (stream_span,) = collector.spans_of("Stream")
    writes = collector.spans_of("write")
    assert len(writes) == 5
    for each in writes:
        assert_stages_fill(each)
        assert (each.trace_id, each.parent_span_id) == (stream_span.trace_id, stream_span.span_id)


async def test_the_stages_of_documents_fill_their_spans(tmp_path: Path, collector: Collector) -> None:
    """Of all documents of a call together; in streams, of the documents that have spans of their own, too."""
    write_tiny_classifier(tmp_path / "topics" / "1")
    write_tiny_transducer(tmp_path / "short" / "1")
    three = [(name, "star and galaxy") for name in "abc"]
    async with serving(tmp_path, trace_stream_seconds=0) as target, aio.Client(target) as client:
        await client.classify_batch(three, model="topics")
        async for _ in client.classify(three, model="topics"):
            pass
        async for _ in client.transduce([("a", "x y"), ("b", "")], model="short"):
            pass
    for method, documents, failed in (("Classify", 3, 0), ("ClassifyStream", 3, 0), ("Transduce", 2, 1)):
        (whole,) = collector.spans_of(method)
        assert_stages_fill(whole, "queue", "batch", "publish")
        told = attributes(whole.attributes)
        assert (told["gatehouse.documents"], told["gatehouse.failed_documents"]) == (documents, failed)
        parts = [span for span in collector.spans_of("document") if span.parent_span_id == whole.span_id]
        assert len(parts) == (0 if method == "Classify" else documents - failed)
        for part in parts:
            assert_stages_fill(part, "queue", "batch", "publish")
            batch = attributes(part.events[1].attributes)
            assert 0 < batch["gatehouse.compute_seconds"] <= batch["gatehouse.seconds"]


async def test_however_many_documents_come_the_trace_stays_small(
    two_models: Path, collector: Collector
) -> None:
    """One of them has a span at a time, and the call's span has three events."""
    async with serving(two_models, trace_stream_seconds=1000) as target, aio.Client(target) as client:
        async for _ in client.classify(((str(n), "star") for n in range(500)), model="topics"):
            pass
    (whole,) = collector.spans_of("ClassifyStream")
    assert len(whole.events) == 3
    assert attributes(whole.attributes)["gatehouse.documents"] == 500
    assert len(collector.spans_of("document")) == 1


async def test_the_stages_of_a_generation_fill_its_span(two_models: Path, collector: Collector) -> None:
    """Four, however many steps: waiting, the prompt and the first message, the others, the end."""
    async with serving(two_models) as target, aio.Client(target) as client:
        async for _ in client.generate("how are", model="keyboard", max_steps=20):
            pass
    (span,) = collector.spans_of("Generate")
    assert_stages_fill(span, "queue", "tick", "first result", "publish")
    told = attributes(span.attributes)
    assert told["gatehouse.continuations"] == 1
    assert 1 < told["gatehouse.steps"] <= 20


async def test_without_traces_nothing_is_made_for_them(
    two_models: Path, untraced: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents and generations are answered, and no stage of them is looked at."""

    def never(*arguments: object, **facts: object) -> None:
        raise AssertionError("something was traced")

    monkeypatch.setattr("gatehouse_server.transport.document_counts.DocumentTrace", never)
    monkeypatch.setattr("gatehouse_server.transport.generation.Stage", never)
    async with serving(two_models) as target, aio.Client(target) as client:
        (result,) = await client.classify_batch([("a", "star")], model="topics")
        assert result.error is None
        assert [step async for step in client.generate("how are", model="keyboard", max_steps=3)]


async def test_a_stream_has_one_operation_traced_at_a_time(two_models: Path, collector: Collector) -> None:
    """However many it carries: those that are not due have no span."""
    async with (
        serving(two_models, trace_stream_seconds=1000) as target,
        aio.Client(target) as client,
        client.stream() as stream,
    ):
        session = await stream.session("keyboard")
        for token in range(2, 20):
            await session.append(tokens=[token])
    assert len(collector.spans_of("write")) == 1


async def test_a_call_stands_below_the_callers_span(two_models: Path, collector: Collector) -> None:
    """The client passes the application's span on, whichever interface and kind of call."""
    tracer = TracerProvider().get_tracer("application")
    async with serving(two_models) as target:
        with tracer.start_as_current_span("asyncio") as asynchronous:
            async with aio.Client(target) as client:
                await client.suggest("how are y", model="keyboard")
                async for _ in client.classify([("a", "star")], model="topics"):
                    pass
                async with client.stream() as stream:
                    await stream.session("keyboard", session_id="over-stream")
                    await (await stream.attach("over-stream")).append(tokens=[2])
                async for _ in client.generate("how are", model="keyboard", max_steps=1):
                    pass

        def blocking() -> trace.Span:
            with tracer.start_as_current_span("blocking") as span, Client(target) as client:
                client.suggest("how are y", model="keyboard")
                list(client.classify([("a", "star")], model="topics"))
                list(client.generate("how are", model="keyboard", max_steps=1))
                with client.stream() as stream:
                    stream.attach("over-stream").append(tokens=[3])
            return span

        synchronous = await asyncio.to_thread(blocking)
        async with aio.Client(target) as client:
            await client.suggest("how are y", model="keyboard")
    ours = {
        format(each.get_span_context().span_id, "016x"): each.get_span_context().trace_id
        for each in (asynchronous, synchronous)
    }
    for method in ("Suggest", "ClassifyStream", "Stream", "Generate"):
        parents = [span.parent_span_id.hex() for span in collector.spans_of(method)]
        assert [parent for parent in parents if parent] == list(ours), method
        for span in collector.spans_of(method):
            if span.parent_span_id:
                assert int(span.trace_id.hex(), 16) == ours[span.parent_span_id.hex()]
    assert not collector.spans_of("Suggest")[-1].parent_span_id


async def test_what_is_not_sampled_is_not_traced(
    two_models: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what the caller does not sample, nor what OTEL_TRACES_SAMPLER leaves out."""
    unsampled = (("traceparent", f"00-{'1' * 32}-{'2' * 16}-00"),)
    broken = (("traceparent", "00-nonsense"),)
    suggest = online_pb2.SuggestRequest(suggest=online_pb2.TextSuggestion(text="how are y", model="keyboard"))
    for sampler, spans in (("parentbased_always_on", 1), ("always_off", 0)):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        collector.requests.clear()
        async with serving(two_models) as target, grpc.aio.insecure_channel(target) as channel:
            stub: Any = online_pb2_grpc.OnlineServiceStub(channel)
            await stub.Suggest(suggest, metadata=unsampled)
            await stub.Suggest(suggest, metadata=broken)
        assert len(collector.spans) == spans


async def test_probes_and_strangers_have_no_spans(two_models: Path, collector: Collector) -> None:
    """Health checks come every few seconds, and a method that does not exist would name the span."""
    async with serving(two_models) as target, grpc.aio.insecure_channel(target) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        await health.Check(health_pb2.HealthCheckRequest())
        invented: Any = channel.unary_unary("/gatehouse.v1.OnlineService/Invented")
        with pytest.raises(grpc.aio.AioRpcError):
            await invented(b"")
    assert collector.spans == []


async def test_spans_have_nothing_of_what_users_wrote(two_models: Path, collector: Collector) -> None:
    """Not of what was taken, and not of what was refused with a message that quotes it."""
    async with serving(two_models) as target, aio.Client(target) as client:
        await client.suggest(SECRET, model="keyboard", exclude=[SECRET], extra_words=[SECRET])
        await client.classify_batch([(SECRET, SECRET)], model="topics")
        for refused in (
            client.suggest(SECRET, model=SECRET),
            client.suggest(SECRET, model="topics"),
            client.attach(SECRET),
        ):
            with pytest.raises(errors.GatehouseError):
                await refused
    assert len(collector.spans) == 5
    assert SECRET not in collector.everything
    assert SECRET.split()[0] not in collector.everything


async def test_an_internal_error_and_its_trace_are_found_from_each_other(
    two_models: Path, collector: Collector, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line of the log has the trace's number; the span is an error, and says no more."""

    async def broken(*arguments: object) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr(ModelServicer, "ListModels", broken)
    async with serving(two_models) as target, aio.Client(target) as client:
        with pytest.raises(errors.GatehouseError):
            await client.list_models()
    (line,) = [event for event in events(log) if event["event"] == "internal error"]
    (span,) = collector.spans_of("ListModels")
    assert line["trace_id"] == span.trace_id.hex()
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert SECRET not in log.getvalue()
    assert SECRET not in collector.everything
