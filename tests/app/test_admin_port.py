"""The operators' port of a whole server: what it shows, and how it leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from gatehouse import aio, errors
from gatehouse.operator import Operator
from gatehouse.results import SessionLine
from gatehouse.v1 import admin_pb2, admin_pb2_grpc, online_pb2, online_pb2_grpc
from gatehouse_server.app.ports import Ports
from gatehouse_server.app.run import Gatehouse
from gatehouse_server.settings import Settings
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.tiny import write_tiny_keyboard

NARROW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16 * 1024)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small model."""
    root = tmp_path_factory.mktemp("models")
    write_tiny_keyboard(root / "keyboard" / "1")
    return root


@asynccontextmanager
async def serving(models: Path, **settings: Any) -> AsyncIterator[tuple[Gatehouse, Ports]]:
    """A server on free ports in this process, which a test may drain itself."""
    gatehouse = Gatehouse(
        Settings(models=(models,), embedded_models=False, port=0, admin_port=0, http_port=0, **settings)
    )
    ports = await gatehouse.start()
    try:
        yield gatehouse, ports
    finally:
        async with asyncio.timeout(30):
            await gatehouse.drain()


async def test_operators_are_answered_while_the_server_leaves(models: Path) -> None:
    """While a user's call holds the server up, the other port says that it does not serve, and why."""
    async with (
        serving(models, drain_grace_seconds=30) as (gatehouse, ports),
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.admin}") as channel,
    ):
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        health: Any = health_pb2_grpc.HealthStub(channel)
        request = admin_pb2.InspectSessionRequest(session_id="nobody")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.InspectSession(request)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        with gatehouse._departure.call():  # a user's call that is not finished yet
            draining = asyncio.create_task(gatehouse.drain())
            watch = health.Watch(health_pb2.HealthCheckRequest())
            while (await watch.read()).status != health_pb2.HealthCheckResponse.NOT_SERVING:
                pass
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.InspectSession(request)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "shutting down" in (caught.value.details() or "")
            assert not draining.done()
        await draining


async def test_a_list_that_nobody_reads_does_not_hold_the_server_up(models: Path) -> None:
    """It leaves long before its grace period is over; what is left of the list ends with it."""
    async with serving(models, drain_grace_seconds=1000) as (gatehouse, ports):
        options = [*NARROW, ("grpc.max_receive_message_length", 16 * 1024 * 1024)]
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
            grpc.aio.insecure_channel(f"127.0.0.1:{ports.admin}", options=options) as admin_channel,
        ):
            online = online_pb2_grpc.OnlineServiceStub(channel)
            for start in range(0, 3000, 100):
                names = [f"{number:05}".rjust(128, "x") for number in range(start, start + 100)]
                requests = [
                    online_pb2.CreateSessionRequest(model="keyboard", session_id=name) for name in names
                ]
                await asyncio.gather(*map(online.CreateSession, requests))
            stub = admin_pb2_grpc.AdminServiceStub(admin_channel)
            listing = stub.ListSessions(admin_pb2.ListSessionsRequest())
            responses = aiter(listing)
            assert len((await anext(responses)).sessions) == 500
            async with asyncio.timeout(30):
                await gatehouse.drain()
            with pytest.raises(grpc.aio.AioRpcError):
                async for _ in responses:
                    pass


async def test_sessions_travel_between_servers_that_share_a_key(models: Path) -> None:
    """And to no other: what somebody else sealed is refused."""
    async with (
        serving(models, export_key="one") as (_, here),
        serving(models, export_key="one") as (_, there),
        serving(models, export_key="two") as (_, elsewhere),
        aio.Client(f"127.0.0.1:{here.grpc}") as source,
        aio.Client(f"127.0.0.1:{there.grpc}") as destination,
        aio.Client(f"127.0.0.1:{elsewhere.grpc}") as stranger,
    ):
        session = await source.session("keyboard")
        await session.append(tokens=[2, 3, 4])
        blob = await source.export_session(session.id)
        moved = await destination.import_session(blob, session_id=session.id)
        assert (moved.position, moved.revision) == (3, 1)
        step, same = await session.append(tokens=[5], k=3), await moved.append(tokens=[5], k=3)
        assert step.best == same.best
        with pytest.raises(errors.InvalidInputError) as caught:
            await stranger.import_session(blob)
        assert caught.value.reason == "EXPORT_ALTERED"


async def test_sessions_in_memory_and_in_the_store_are_each_listed_once(models: Path, tmp_path: Path) -> None:
    """After a restart all of them are in the store alone; the one that is used again is in memory, and told once."""
    store = f"sqlite:{tmp_path / 'sessions.db'}"
    names = [f"s{number}" for number in range(5)]
    async with (
        serving(models, state_store=store) as (_, ports),
        aio.Client(f"127.0.0.1:{ports.grpc}") as client,
    ):
        for name in names:
            await (await client.session("keyboard", session_id=name)).append(tokens=[2, 3])
        assert await listed(ports) == dict.fromkeys(names, "live")
    async with (
        serving(models, state_store=store) as (_, ports),
        aio.Client(f"127.0.0.1:{ports.grpc}") as client,
    ):
        assert await listed(ports) == dict.fromkeys(names, "store")
        woken = await client.attach("s2")
        assert (await woken.append(tokens=[4])).position == 3
        assert await listed(ports) == dict.fromkeys(names, "store") | {"s2": "live"}


async def listed(ports: Ports) -> dict[str, str]:
    """The tier of each session that the operators' port lists; no session is listed twice."""

    def ask() -> list[SessionLine]:
        with Operator(f"127.0.0.1:{ports.admin}") as operator:
            return list(operator.list_sessions())

    lines = await asyncio.to_thread(ask)
    assert len({line.session for line in lines}) == len(lines)
    return {line.session: line.tier for line in lines}
