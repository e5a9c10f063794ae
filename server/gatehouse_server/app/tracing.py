"""Whether calls are traced, decided at the start. Without traces nothing of OpenTelemetry, an extra, is imported."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from gatehouse_server.app.failure import CannotStartError
from gatehouse_server.settings import Settings
from gatehouse_server.telemetry.call_trace import Traces

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """What makes spans, and `close(timeout_seconds)`, which sends what is left and tells whether it came to an end."""

    traces: Traces
    close: Callable[[float], bool]


def open_tracing(settings: Settings, version: str) -> Tracing | None:
    """Traces as the settings and the OTEL_* variables ask for, or None.

    Raises CannotStartError when `--traces on` cannot be had. Asked for by variables alone, which may be set for all
    that runs on a machine, it is a line in the log instead: the server serves.
    """
    if not asked_for(settings, os.environ):
        return None
    try:
        return _open(settings, version)
    except CannotStartError as error:
        if settings.traces == "on":
            raise
        _log.warning("calls are not traced", problem=str(error))
        return None


def asked_for(settings: Settings, environment: Mapping[str, str]) -> bool:
    """Whether there are to be traces."""
    if settings.traces == "off" or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    if settings.traces == "on":
        return exporter != "none"
    if exporter:
        return exporter != "none"
    return any(environment.get(name, "").strip() for name in _ENDPOINTS)


def _open(settings: Settings, version: str) -> Tracing:
    try:
        from gatehouse_server.telemetry.otel_traces import OtelTraces
        from gatehouse_server.telemetry.trace_export import (
            BadTraceSettingError,
            exporter_names,
            open_provider,
            shut_down,
        )
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise CannotStartError(
            "traces need OpenTelemetry: pip install 'gatehouse[server,otel]', or choose --traces off"
        ) from error
    except ValueError as error:  # it looks for OTEL_PROPAGATORS when it is imported
        raise CannotStartError(f"--traces: {error} Look at the OTEL_* variables") from error
    try:
        provider = open_provider(version)
        exporters = exporter_names()
    except BadTraceSettingError as error:
        raise CannotStartError(f"--traces: {error}") from error
    _log.info("calls are traced", exporters=list(exporters), sampler=provider.sampler.get_description())
    return Tracing(
        traces=OtelTraces(provider, version=version, stream_seconds=settings.trace_stream_seconds),
        close=lambda timeout_seconds: shut_down(provider, timeout_seconds),
    )
