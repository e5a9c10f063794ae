"""When the engine thread fails, nobody is left waiting, the probes say so, and the process ends."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from gatehouse.v1 import online_pb2, online_pb2_grpc
from gatehouse_server.app.run import Gatehouse
from gatehouse_server.sessions.lane import SessionLane
from gatehouse_server.settings import Settings

from tests.tiny import write_tiny_keyboard


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_calls_end_and_liveness_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that was being computed ends with an error instead of waiting for its deadline."""
    write_tiny_keyboard(tmp_path / "keyboard" / "1")

    def fail(self: SessionLane, answers: Any) -> None:
        raise MemoryError("in the middle of a tick")

    monkeypatch.setattr(SessionLane, "run", fail)
    gatehouse = Gatehouse(
        Settings(models=(tmp_path,), embedded_models=False, port=0, admin_port=0, http_port=0)
    )
    ports = await gatehouse.start()
    readiness = gatehouse._readiness
    assert readiness.unhealthy() == readiness.unready() == {}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        request = online_pb2.SuggestRequest(suggest=online_pb2.TextSuggestion(text="how are "))
        with pytest.raises(grpc.aio.AioRpcError):
            await online_pb2_grpc.OnlineServiceStub(channel).Suggest(request)
    assert set(readiness.unhealthy()) == {"engine"}
    gatehouse.close()


BREAKS = """
from gatehouse_server.app.command import serve
from gatehouse_server.sessions.lane import SessionLane

def run(self, answers):
    raise MemoryError("in the middle of a tick")

SessionLane.run = run
serve()
"""


def test_the_process_ends_for_another_to_be_started(tmp_path: Path) -> None:
    """With code 1, and without waiting for load balancers; a supervisor that only looks at processes sees it."""
    write_tiny_keyboard(tmp_path / "keyboard" / "1")
    ports = [word for flag in ("--port", "--admin-port", "--http-port") for word in (flag, "0")]
    arguments = ["--no-embedded-models", "--models", str(tmp_path), "--drain-delay-seconds", "3600", *ports]
    with subprocess.Popen(
        [sys.executable, "-c", BREAKS, *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = (json.loads(line) for line in process.stderr if line.startswith("{"))
        serving = next(line for line in lines if line["event"] == "serving")
        with grpc.insecure_channel(serving["grpc"]) as channel:
            request = online_pb2.SuggestRequest(suggest=online_pb2.TextSuggestion(text="how are "))
            with pytest.raises(grpc.RpcError):
                online_pb2_grpc.OnlineServiceStub(channel).Suggest(request)
        events = {line["event"]: line for line in lines}
        assert process.wait(30) == 1
    assert "in the middle of a tick" in events["the engine failed"]["exception"]
    assert events["stopped"]["nothing_lost"] is False
