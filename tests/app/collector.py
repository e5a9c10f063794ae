"""A collector of traces: takes spans over OTLP as Jaeger or Tempo would, and keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """What was exported."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.target = ""

    def Export(self, request, context):  # noqa: N802 - OTLP's name
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Span]:
        """All spans, in the order of their ends."""
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def spans_of(self, name: str) -> list[Span]:
        """Those of a name, or of a method's last word."""
        return [span for span in self.spans if span.name.rpartition("/")[2] == name]

    @property
    def resource(self) -> dict[str, Any]:
        """Who sent them."""
        return attributes(self.requests[0].resource_spans[0].resource.attributes)

    @property
    def everything(self) -> str:
        """All that came, as text."""
        return "\n".join(MessageToJson(request) for request in self.requests)


def attributes(pairs: Any) -> dict[str, Any]:
    """Attributes by name."""
    return {pair.key: _value(pair) for pair in pairs}


def _value(pair: KeyValue) -> Any:
    return getattr(pair.value, pair.value.WhichOneof("value") or "string_value")


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port, as long as it is needed."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.target = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()
