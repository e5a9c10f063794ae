"""Whether a server has traces, and what becomes of it when they cannot be had."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gatehouse import aio
from gatehouse_server.app.failure import CannotStartError
from gatehouse_server.app.tracing import asked_for, open_tracing
from gatehouse_server.settings import Settings

from tests.app.traced_server import events, serving

pytestmark = pytest.mark.usefixtures("untraced")


async def test_a_collector_that_is_not_there_costs_spans_and_nothing_else(
    two_models: Path, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    """The server serves and leaves, and one line says that traces are lost, not one for each attempt."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    async with serving(two_models) as target, aio.Client(target) as client:
        session = await client.session("keyboard")
        while not any(event["event"] == "traces are not taken" for event in events(log)):
            await session.append(tokens=[2])
            await asyncio.sleep(0)
        assert (await client.suggest("how are y", model="keyboard")).words
    warnings = [event for event in events(log) if event["level"] != "info"]
    assert [event["event"] for event in warnings] == ["traces are not taken"]
    assert "127.0.0.1:1" in warnings[0]["problem"]


def test_without_traces_opentelemetry_is_not_imported(two_models: Path) -> None:
    """A server that serves and a client that asks it know nothing of it."""
    script = f"""
import asyncio, sys
from pathlib import Path
from gatehouse import aio
from gatehouse_server.app.run import Gatehouse
from gatehouse_server.settings import Settings

async def main():
    ports = dict(port=0, admin_port=0, http_port=0)
    server = Gatehouse(Settings(models=(Path({str(two_models)!r}),), embedded_models=False, **ports))
    ports = await server.start()
    async with aio.Client(f"127.0.0.1:{{ports.grpc}}") as client:
        session = await client.session("keyboard")
        await session.append(tokens=[2, 3])
        async with client.stream() as stream:
            await (await stream.attach(session.id)).append(tokens=[4])
    await server.drain()

asyncio.run(main())
print(*[name for name in sys.modules if name.startswith("opentelemetry")])
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize(
    ("environment", "setting", "traced"),
    [
        ({}, "auto", False),
        ({}, "on", True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}, "auto", True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}, "off", False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4317"}, "auto", True),
        ({"OTEL_TRACES_EXPORTER": "console"}, "auto", True),
        (
            {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"},
            "auto",
            False,
        ),
        ({"OTEL_TRACES_EXPORTER": "none"}, "on", False),
        ({"OTEL_SDK_DISABLED": "true"}, "on", False),
    ],
)
def test_the_environment_decides_unless_the_setting_does(
    environment: dict[str, str], setting: str, traced: bool
) -> None:
    """Off by default; on when an exporter or an endpoint is named; OpenTelemetry's own ways to say no count."""
    assert asked_for(Settings(traces=setting), environment) is traced  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("OTEL_TRACES_EXPORTER", "carrier-pigeon", "only console"),
        ("OTEL_TRACES_EXPORTER", "otlp_proto_http", "pip install opentelemetry-exporter-otlp-proto-http"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "smoke", "grpc or http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "OTEL_"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "many", "OTEL_SPAN_EVENT_COUNT_LIMIT"),
    ],
)
def test_what_cannot_be_had_is_one_line(
    monkeypatch: pytest.MonkeyPatch, log: io.StringIO, variable: str, value: str, told: str
) -> None:
    """Asked for with `--traces on` the server does not start; asked for by the environment alone it serves without."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv(variable, value)
    with pytest.raises(CannotStartError, match=told) as caught:
        open_tracing(Settings(traces="on"), "1")
    assert "\n" not in str(caught.value)
    assert open_tracing(Settings(), "1") is None
    (line,) = events(log)
    assert (line["event"], line["level"]) == ("calls are not traced", "warning")
    assert told in line["problem"]


def test_a_propagator_that_is_not_there_is_one_line(two_models: Path) -> None:
    """OpenTelemetry refuses to be imported then."""
    arguments = ["--traces", "on", "--models", str(two_models), "--no-embedded-models"]
    script = "from gatehouse_server.app.command import serve; serve()"
    command = [sys.executable, "-c", script, *arguments]
    environment = {**os.environ, "OTEL_PROPAGATORS": "carrier-pigeon"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 2
    assert "carrier-pigeon not found" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_without_the_extra_the_server_says_what_to_install(two_models: Path) -> None:
    """One line, and the exit code of settings that cannot be had."""
    script = (
        "import sys; sys.modules['opentelemetry'] = None; "
        "from gatehouse_server.app.command import serve; serve()"
    )
    arguments = ["--traces", "on", "--models", str(two_models), "--no-embedded-models"]
    result = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert result.returncode == 2
    assert "pip install 'gatehouse[server,otel]'" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
