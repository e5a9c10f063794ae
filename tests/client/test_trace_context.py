"""What the client passes on of the application's trace."""

import os
import subprocess
import sys

from gatehouse.trace_context import trace_context
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import TracerProvider


def test_a_current_span_is_named() -> None:
    """In W3C's form, with names that gRPC takes."""
    with TracerProvider().get_tracer("application").start_as_current_span("work") as span:
        told = span.get_span_context()
        flags = f"{told.trace_flags:02x}"
        assert trace_context() == (("traceparent", f"00-{told.trace_id:032x}-{told.span_id:016x}-{flags}"),)


def test_without_a_span_nothing_is_passed_on() -> None:
    """Though the application has OpenTelemetry; what else it carries goes along."""
    assert trace_context() is None
    token = context.attach(baggage.set_baggage("tenant", "blue"))
    try:
        assert trace_context() == (("baggage", "tenant=blue"),)
    finally:
        context.detach(token)


def test_a_propagator_that_is_not_there_costs_no_call() -> None:
    """OpenTelemetry refuses to be imported then; the call goes out without a trace."""
    script = "import opentelemetry.trace; from gatehouse.trace_context import trace_context; print(trace_context())"
    environment = {**os.environ, "OTEL_PROPAGATORS": "carrier-pigeon"}
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert result.stdout == "None\n"


def test_without_opentelemetry_nothing_is_imported() -> None:
    """An application that never imported it has no span; asking does not bring it along."""
    script = (
        "import sys; import gatehouse, gatehouse.aio; from gatehouse.trace_context import trace_context; "
        "print(trace_context(), *[name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout == "None\n"
