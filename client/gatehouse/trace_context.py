"""The trace that the application is in, passed on with a call so that the server's spans stand below the caller's."""

from __future__ import annotations

import sys

Metadata = tuple[tuple[str, str], ...]


def trace_context() -> Metadata | None:
    """Metadata that names the application's current span, in the form that OpenTelemetry is set to (by default W3C's
    `traceparent`); None without a span.

    OpenTelemetry is not ours to import: an application that has a span has imported it before.
    """
    if "opentelemetry.trace" not in sys.modules:
        return None
    return _carried()


def _carried() -> Metadata | None:
    try:
        from opentelemetry import propagate
    except ValueError:
        # OTEL_PROPAGATORS names one that is not there. That costs the trace, and must not cost the call.
        return None
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    # gRPC takes names in lower case alone.
    return tuple((key.lower(), text) for key, text in carrier.items()) or None
