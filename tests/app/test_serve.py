"""`gatehouse serve` as a process: what it says when it cannot start, and how it leaves."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from gatehouse.v1 import offline_pb2, offline_pb2_grpc, online_pb2, online_pb2_grpc

from tests.tiny import write_tiny_classifier, write_tiny_keyboard

# The stubs do not know that a dictionary can stand for a submessage.
ONLINE: Any = online_pb2
OFFLINE: Any = offline_pb2

PORTS = ("--port", "--admin-port", "--http-port")
FREE_PORTS = [word for flag in PORTS for word in (flag, "0")]
SERVE = [sys.executable, "-c", "from gatehouse_server.app.command import serve; serve()"]


ONE_AFTER_THE_OTHER = """
import json, sys
from gatehouse_server.app.command import serve
for arguments in json.loads(sys.argv[1]):
    try:
        serve(arguments)
    except SystemExit as ended:
        print("exit code", ended.code, file=sys.stderr)
"""


def cannot_start(*arguments: str) -> str:
    """The one line of a server that cannot start."""
    result = subprocess.run([*SERVE, *arguments], capture_output=True, text=True, timeout=50, check=False)
    assert result.returncode == 2, result.stderr
    return result.stderr.strip().splitlines()[-1]


@dataclass
class Server:
    """A server process, with the lines of its log."""

    process: subprocess.Popen[str]
    lines: list[dict[str, Any]] = field(default_factory=list)

    def until(self, event: str) -> dict[str, Any]:
        """Reads the log up to an event."""
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self.lines.append(json.loads(text))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(f"the log ended without {event!r}: {self.lines}")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models."""
    root = tmp_path_factory.mktemp("models")
    write_tiny_keyboard(root / "keyboard" / "1")
    write_tiny_classifier(root / "topics" / "1")
    return root


@pytest.fixture
def server(models: Path) -> Iterator[Server]:
    """A server on free ports that has not yet said where it listens."""
    arguments = ["--no-embedded-models", "--models", str(models), *FREE_PORTS]
    with subprocess.Popen(
        [*SERVE, *arguments, "--drain-grace-seconds", "30"], stderr=subprocess.PIPE, text=True
    ) as process:
        yield Server(process)
        process.kill()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "abc"], "--port"),
        (["--models", "/nowhere"], "/nowhere"),
        (["--no-embedded-models"], "--models DIR"),
        (["--config", "/nowhere.toml"], "/nowhere.toml"),
        (["--prot", "1"], "--port"),
    ],
)
def test_what_hinders_the_start_is_one_line(arguments: list[str], told: str) -> None:
    """It names what to change, without a traceback; the exit code is 2."""
    assert told in cannot_start(*FREE_PORTS, *arguments)


def test_a_taken_port_is_one_line_with_the_flag(models: Path) -> None:
    """Whichever of the three; nothing of a start that failed hinders the next one in the same process."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        common = ["--no-embedded-models", "--models", str(models), *FREE_PORTS]
        starts = json.dumps([[*common, flag, str(port)] for flag in PORTS])
        command = [sys.executable, "-c", ONE_AFTER_THE_OTHER, starts]
        result = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    said = [line for line in result.stderr.splitlines() if not line.startswith("{")]
    for flag in PORTS:
        line = said[said.index("exit code 2") - 1]
        assert f"127.0.0.1:{port}" in line
        assert f"Choose another with {flag} or" in line
        said = said[said.index("exit code 2") + 1 :]
    assert said == []


def test_a_server_serves_then_finishes_what_runs_and_leaves(server: Server) -> None:
    """Real models answer; on SIGTERM new calls are refused, an open stream is told, and the exit code is 0."""
    serving = server.until("serving")
    assert "loopback" in serving["reachable_from"]
    assert set(serving["start_seconds"]) == {"imports", "models", "state_store", "engine"}
    assert [line["model"] for line in server.lines if line["event"] == "model loaded"] == [
        "keyboard@1",
        "topics@1",
    ]
    assert page(serving["http"], "/readyz")[0] == 200
    with grpc.insecure_channel(serving["grpc"]) as channel:
        online = online_pb2_grpc.OnlineServiceStub(channel)
        suggested = online.Suggest(ONLINE.SuggestRequest(suggest={"text": "how are "})).result
        assert len(suggested.suggestions) == 3
        offline = offline_pb2_grpc.OfflineServiceStub(channel)
        classified = offline.Classify(
            OFFLINE.ClassifyRequest(
                model="topics", documents=[{"document_id": "a", "text": "we study the star"}]
            )
        )
        assert sum(each.score for each in classified.results[0].scores) == pytest.approx(1, abs=1e-5)
        metrics = page(serving["http"], "/metrics")[1].decode()
        assert 'gatehouse_sessions_active{model="keyboard",version="1"} 1.0' in metrics
        assert 'gatehouse_offline_documents_total{model="topics",version="1"} 1.0' in metrics

        go_on = threading.Event()

        def operations() -> Iterator[online_pb2.StreamRequest]:
            yield ONLINE.StreamRequest(operations=[{"tag": 1, "suggest": {"text": "you are "}}])
            go_on.wait()

        stream = online.Stream(operations())
        assert next(stream).results[0].tag == 1
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        go_on.set()
    assert server.until("stopped")["nothing_lost"] is True
    assert server.process.wait(30) == 0


def test_a_second_signal_ends_at_once(server: Server) -> None:
    """While long documents are being computed, another SIGTERM does not wait for them."""
    serving = server.until("serving")
    long = [{"document_id": str(number), "tokens": {"ids": [1] * 90_000}} for number in range(8)]
    with grpc.insecure_channel(serving["grpc"]) as channel:
        offline = offline_pb2_grpc.OfflineServiceStub(channel)
        calling = offline.Classify.future(OFFLINE.ClassifyRequest(model="topics", documents=long))
        while b'\ngatehouse_queue_depth{lane="offline"} 0.0' in page(serving["http"], "/metrics")[1]:
            assert not calling.done()
        server.process.send_signal(signal.SIGTERM)
        server.until("draining")
        assert page(serving["http"], "/readyz")[0] == 503
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 128 + signal.SIGTERM


def page(address: str, path: str) -> tuple[int, bytes]:
    """Status and body of a page."""
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def test_health_can_be_asked_from_a_shell(server: Server) -> None:
    """Exit code 0 for what serves, 1 for what does not and when nobody is there."""
    target = server.until("serving")["grpc"]

    def exit_code(*arguments: str) -> int:
        command = [sys.executable, "-m", "gatehouse_server.app.healthcheck", *arguments]
        return subprocess.run(command, capture_output=True, timeout=50, check=False).returncode

    assert exit_code("--target", target) == 0
    assert exit_code("--target", target, "--service", "models/keyboard") == 0
    assert exit_code("--target", target, "--service", "models/nobody") == 1
    os.kill(server.process.pid, signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert exit_code("--target", target, "--timeout", "0.2") == 1
