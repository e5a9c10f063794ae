"""When the engine thread fails, nobody is left waiting, and the probes say so."""

from pathlib import Path
from typing import Any

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
