"""`gatehouse status`."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from gatehouse.command.spans import long_span, memory, short_span
from gatehouse.command.status import screen
from gatehouse.operator_decoding import server_status
from gatehouse.v1 import admin_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tests.client.commands import run
from tests.client.fake_server import FakeServer

BUSY = admin_pb2.GetStatusResponse(
    version="1.2.3",
    device="cpu",
    phase="serving",
    serving_since=Timestamp(seconds=1_000_000),
    problems={"model keyboard": "required, and not among the models"},
    warnings={"state_store": "fails: no answer"},
    window=Duration(seconds=10),
    steps_per_second=12_345.6,
    documents_per_second=210.5,
    batch_sessions=31.25,
    batch_documents=12.5,
    operations=[
        admin_pb2.OperationStatus(
            operation="write",
            per_second=12_000.5,
            failed_per_second=0.5,
            p50=Duration(nanos=2_100_000),
            p99=Duration(nanos=14_000_000),
        ),
        admin_pb2.OperationStatus(
            operation="document", per_second=210.5, p50=Duration(nanos=400_000_000), p99=Duration(seconds=2)
        ),
    ],
    queued=70,
    queued_documents=1_200,
    queue_capacity=16_384,
    open_calls=1,
    live_sessions=9_000,
    live_sessions_capacity=10_000,
    packed_sessions=41_000,
    stored_sessions=120_000,
    sessions_capacity=1_000_000,
    session_bytes=123_456_789,
    store=admin_pb2.StoreStatus(
        kind="redis", durability="async", unsaved_sessions=12, lag=Duration(nanos=50_000_000)
    ),
    models=[
        admin_pb2.ModelStatusLine(
            model="keyboard@2",
            status="ready",
            fingerprint="ab" * 32,
            sessions=49_990,
            memory_bytes=17_000_000,
        ),
        admin_pb2.ModelStatusLine(
            model="keyboard@1", status="leaving", fingerprint="cd" * 32, sessions=10, memory_bytes=17_000_000
        ),
        admin_pb2.ModelStatusLine(model="broken@1", status="failed", problem="config.json is missing"),
    ],
)


def test_the_screen_of_a_busy_server() -> None:
    """What is wrong comes first; then load, sessions, models. One screen, no line wider than a terminal of 110."""
    now = datetime.fromtimestamp(1_000_000 + 11_580, UTC)
    lines = list(screen(server_status(BUSY), now=now))
    assert max(map(len, lines)) <= 110
    assert (
        "\n".join(lines)
        == """\
gatehouse 1.2.3 on cpu: serving for 3 h 13 min
NOT READY  model keyboard: required, and not among the models
WARNING    state_store: fails: no answer

last 10 s  12,346 steps/s, 31.2 sessions a tick; 210.5 documents/s, 12.5 a batch
queue      70 operations and 1,200 documents wait, of 16,384 each; 1 open call
             answers/s   failed/s        p50        p99
write         12,000.5        0.5    2.10 ms      14 ms
document         210.5        0.0     400 ms     2.00 s

sessions   9,000 live of 10,000, 41,000 packed; 123 MB; 1,000,000 may be known
store      redis, async, 120,000 sessions; 12 changes not stored yet, the oldest for 50 ms

model      status    sessions     memory  content
keyboard@2 ready       49,990      17 MB  abababababab
keyboard@1 leaving         10      17 MB  cdcdcdcdcdcd
broken@1   failed   config.json is missing"""
    )


def test_the_screen_of_a_server_that_does_nothing(server: FakeServer) -> None:
    """Nothing is shown as nothing, and it is fine: the exit code is 0."""
    result = run("status", admin_target=server.admin_target)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "gatehouse 1.2.3 on cpu: serving"
    assert "0 steps/s; 0.0 documents/s" in result.stdout


def test_json_has_all_of_it_and_the_exit_code_tells_of_problems(server: FakeServer) -> None:
    """For scripts; a server that is not ready ends the command with 1."""
    server.admin.status = BUSY
    result = run("status", "--json", admin_target=server.admin_target)
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["serving_since"] == "1970-01-12T13:46:40+00:00"
    assert told["operations"][0]["p99_seconds"] == 0.014
    assert told["models"][1]["status"] == "leaving"
    assert set(told) == {field.name for field in BUSY.DESCRIPTOR.fields} - {"window"} | {"window_seconds"}


def test_a_server_that_is_not_there_is_told_in_one_line() -> None:
    """With what to type; the exit code is 2."""
    result = run("status", admin_target="127.0.0.1:1")
    assert result.exit_code == 2
    assert "--admin-target" in result.stderr


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (59.6, "1 min 00 s"), (3_600, "1 h 00 min"), (266_400, "3 d 02 h"), (-5, "0 s")],
)
def test_long_spans(seconds: float, expected: str) -> None:
    """Two units are enough."""
    assert long_span(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.00045, "0.45 ms"), (0.0123, "12 ms"), (1.25, "1.25 s"), (300, "300 s")]
)
def test_short_spans(seconds: float, expected: str) -> None:
    """Two or three digits are enough."""
    assert short_span(seconds) == expected


@pytest.mark.parametrize(("count", "expected"), [(0, "0 bytes"), (999, "999 bytes"), (4_096, "4.1 kB")])
def test_memory(count: int, expected: str) -> None:
    """Three digits are enough."""
    assert memory(count) == expected
