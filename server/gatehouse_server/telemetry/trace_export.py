"""Where spans go, as OpenTelemetry's environment variables say. Imported only when traces are on."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import threading
from collections.abc import Sequence

import structlog
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

_EXPORTERS = "opentelemetry_traces_exporter"
"""Group of entry points by which distributions bring exporters; OpenTelemetry's own do."""

_PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_SERVICE = "gatehouse"

_log = structlog.get_logger(__name__)


class BadTraceSettingError(Exception):
    """An OTEL_* variable asks for something that is not to be had. `str` is one line."""


def open_provider(version: str) -> TracerProvider:
    """What makes spans, sampled and sent as the OTEL_* variables say. Raises BadTraceSettingError."""
    try:
        provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
        for name in exporter_names():
            provider.add_span_processor(BatchSpanProcessor(ToldExporter(_exporter(name), name)))
    except ValueError as error:  # a number that is none, or out of its range
        raise BadTraceSettingError(f"{error}. Look at the OTEL_* variables") from error
    return provider


def exporter_names() -> tuple[str, ...]:
    """The exporters that OTEL_TRACES_EXPORTER names; `otlp` stands for that of its protocol."""
    given = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    names = [name.strip() for name in given.split(",") if name.strip() and name.strip() != "none"]
    return tuple(_otlp() if name == "otlp" else name for name in names)


def shut_down(provider: TracerProvider, timeout_seconds: float) -> bool:
    """Sends what is left; tells whether that came to an end in time.

    On a thread of its own that nobody waits for after that: exporters wait for half a minute where nobody answers.
    """
    closing = threading.Thread(target=provider.shutdown, name="gatehouse-traces", daemon=True)
    closing.start()
    closing.join(timeout_seconds)
    return not closing.is_alive()


class ToldExporter(SpanExporter):
    """An exporter that tells when spans begin to be lost and when that is over, instead of a line for each attempt.

    What it says itself is kept back, the last of it told as the reason.
    """

    def __init__(self, exporter: SpanExporter, name: str) -> None:
        self._exporter = exporter
        self._name = name
        self._fails = False
        self._reason = _LastWords()
        logger = logging.getLogger("opentelemetry.exporter")
        logger.propagate = False
        logger.addHandler(self._reason)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends spans. Whatever goes wrong costs these spans and nothing else."""
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            self._reason.text = f"{type(error).__name__}: {error}"
            result = SpanExportResult.FAILURE
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            _log.warning("traces are not taken", exporter=self._name, problem=self._reason.text)
        elif self._fails and not fails:
            _log.info("traces are taken again", exporter=self._name)
        self._fails = fails
        return result

    def shutdown(self) -> None:
        """Ends the exporter."""
        self._exporter.shutdown()
        logger = logging.getLogger("opentelemetry.exporter")
        logger.removeHandler(self._reason)
        logger.propagate = not logger.handlers

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Has the exporter send what it holds."""
        return self._exporter.force_flush(timeout_millis)


class _LastWords(logging.Handler):
    """Keeps the last line that was logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = "the exporter does not say why"

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the line."""
        self.text = record.getMessage()


def _otlp() -> str:
    protocol = (
        os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        or "grpc"
    ).strip()
    if protocol not in _PROTOCOLS:
        raise BadTraceSettingError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL: expected {' or '.join(_PROTOCOLS)}, got {protocol!r}"
        )
    return _PROTOCOLS[protocol]


def _exporter(name: str) -> SpanExporter:
    entries = importlib.metadata.entry_points(group=_EXPORTERS)
    if name not in entries.names:
        package = name.replace("_", "-")
        hint = f"; pip install opentelemetry-exporter-{package}" if name in _PROTOCOLS.values() else ""
        raise BadTraceSettingError(
            f"OTEL_TRACES_EXPORTER: no exporter {name!r} is installed, only {', '.join(sorted(entries.names))}{hint}"
        )
    try:
        exporter: SpanExporter = entries[name].load()()
    except Exception as error:
        raise BadTraceSettingError(
            f"the exporter {name} cannot be made ({type(error).__name__}: {error}). Look at the OTEL_* variables"
        ) from error
    return exporter


def _resource(version: str) -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES count before what we say ourselves."""
    own = Resource({SERVICE_NAME: _SERVICE, SERVICE_VERSION: version})
    told = Resource.create({})
    if str(told.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return told.merge(own)
    return own.merge(told)
