"""How a whole server says it is."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from gatehouse import aio
from gatehouse.operator import Operator
from gatehouse.server_status import ServerStatus
from gatehouse_server.app.ports import Ports
from gatehouse_server.app.run import Gatehouse
from gatehouse_server.settings import Settings

from tests.tiny import write_tiny_keyboard


async def asked(ports: Ports) -> ServerStatus:
    """What `gatehouse status` is told."""

    def ask() -> ServerStatus:
        with Operator(f"127.0.0.1:{ports.admin}") as operator:
            return operator.status()

    return await asyncio.to_thread(ask)


def made(tmp_path: Path, **settings: Any) -> Gatehouse:
    """A server with one model, not started."""
    write_tiny_keyboard(tmp_path / "models" / "keyboard" / "1")
    return Gatehouse(
        Settings(
            models=(tmp_path / "models",),
            embedded_models=False,
            port=0,
            admin_port=0,
            http_port=0,
            **settings,
        )
    )


async def test_a_stuck_engine_does_not_keep_the_status_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked nothing; what is wrong stands among the problems."""
    gatehouse = made(tmp_path, stuck_turn_seconds=0.05)
    ports = await gatehouse.start()
    assert gatehouse._built is not None
    go_on, is_stuck = threading.Event(), threading.Event()

    def stuck(answers: object) -> None:
        is_stuck.set()
        go_on.wait(20)

    try:
        with monkeypatch.context() as patched:
            patched.setattr(gatehouse._built.sessions, "housekeep", stuck)
            gatehouse._built.engine.wake()
            assert await asyncio.to_thread(is_stuck.wait, 20)
            async with asyncio.timeout(20):
                while "engine" not in (told := await asked(ports)).problems:
                    pass
            assert told.problems["engine"].startswith("one turn has been running")
            assert [(model.model, model.status) for model in told.models] == [("keyboard@1", "ready")]
            go_on.set()
    finally:
        go_on.set()
        await gatehouse.drain()


async def test_it_is_told_while_the_server_leaves(tmp_path: Path) -> None:
    """With its phase, which is the reason that readiness gives."""
    gatehouse = made(tmp_path, drain_delay_seconds=1000)
    ports = await gatehouse.start()
    assert (await asked(ports)).phase == "serving"
    async with aio.Client(f"127.0.0.1:{ports.grpc}") as client:
        session = await client.session("keyboard")
        await session.append(tokens=[5])
        draining = asyncio.create_task(gatehouse.drain())
        async with asyncio.timeout(20):
            while (told := await asked(ports)).phase != "leaving":
                pass
        assert told.problems == {"phase": "the server is about to shut down"}
        assert (told.live_sessions, told.models[0].sessions) == (1, 1)
        draining.cancel()
    gatehouse._settings = gatehouse._settings.model_copy(update={"drain_delay_seconds": 0.0})
    await gatehouse.drain()
