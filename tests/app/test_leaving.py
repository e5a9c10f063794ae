"""How a server leaves: first it says so, then it takes no more, then it tells those who stay. And how it sends
connections away that are old.
"""

import asyncio
import os
import random
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from gatehouse import aio
from gatehouse.v1 import online_pb2, online_pb2_grpc
from gatehouse_server.app import greeting, run
from gatehouse_server.app.ports import Ports
from gatehouse_server.app.run import Gatehouse
from gatehouse_server.errors import ModelFolderError
from gatehouse_server.settings import Settings
from gatehouse_server.transport.model_loading import Loading
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from tests.tiny import write_tiny_classifier, write_tiny_keyboard
from tests.transport.stage import detail, status_of

ONLINE: Any = online_pb2
WORDS = 60


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keyboard that forgets, so that tapes of any length can be compared, and a classifier."""
    root = tmp_path_factory.mktemp("models")
    write_tiny_keyboard(root / "keyboard" / "1", scale=0.4)
    write_tiny_classifier(root / "topics" / "1")
    return root


@asynccontextmanager
async def serving(models: Path, **settings: Any) -> AsyncIterator[tuple[Gatehouse, Ports]]:
    """A server on free ports, which the test may drain itself."""
    gatehouse = Gatehouse(
        Settings(models=(models,), embedded_models=False, port=0, admin_port=0, http_port=0, **settings)
    )
    ports = await gatehouse.start()
    try:
        yield gatehouse, ports
    finally:
        async with asyncio.timeout(30):
            await gatehouse.drain()


async def test_readiness_falls_first_and_streams_are_told_by_a_typed_status(models: Path) -> None:
    """While load balancers notice, calls and open streams are answered as before; then a stream ends with UNAVAILABLE
    and an ErrorInfo whose reason is DRAINING, after what was read of it was answered.
    """
    async with (
        serving(models, drain_delay_seconds=1.0) as (gatehouse, ports),
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
    ):
        online = online_pb2_grpc.OnlineServiceStub(channel)
        health: Any = health_pb2_grpc.HealthStub(channel)
        stream: Any = online.Stream()
        suggestion = ONLINE.StreamRequest(operations=[{"tag": 1, "suggest": {"text": "you are "}}])
        await stream.write(suggestion)
        assert (await stream.read()).results[0].tag == 1
        assert gatehouse._readiness.unready() == {}

        draining = asyncio.create_task(gatehouse.drain())
        watch = health.Watch(health_pb2.HealthCheckRequest())
        while (await watch.read()).status != health_pb2.HealthCheckResponse.NOT_SERVING:
            pass
        assert gatehouse._readiness.unready() == {"phase": "the server is about to shut down"}
        await stream.write(suggestion)
        assert (await stream.read()).results[0].suggest.suggestions
        assert (await online.Suggest(ONLINE.SuggestRequest(suggest={"text": "how are "}))).result.suggestions

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        info = detail(status_of(caught.value), error_details_pb2.ErrorInfo)
        assert (info.reason, info.domain) == ("DRAINING", "gatehouse.dev")
        assert await draining is True


async def test_a_model_that_is_being_read_does_not_keep_the_server_from_leaving(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends with its code when it has drained, whatever an operator's load still takes, and has no error."""
    servers: list[Gatehouse] = []
    codes: list[int] = []
    serving, reading, read = asyncio.Event(), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    class Known(Gatehouse):
        """Of which the test knows."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            servers.append(self)

    def fingerprint(self: Loading, path: Path) -> str:
        loop.call_soon_threadsafe(reading.set)
        read.wait()
        raise ModelFolderError(path, "is of no interest any more", "leave")

    monkeypatch.setattr(run, "Gatehouse", Known)
    monkeypatch.setattr(run, "log_escaped", lambda loop, watched_threads: None)
    monkeypatch.setattr(greeting, "greet", lambda *_, **ports: serving.set())
    monkeypatch.setattr(Loading, "fingerprint", fingerprint)
    monkeypatch.setattr(os, "_exit", codes.append)
    settings = Settings(models=(models,), embedded_models=False, port=0, admin_port=0, http_port=0)
    with capture_logs() as lines:
        process = asyncio.create_task(run._serve(settings, 0.0))
        try:
            await serving.wait()
            assert servers[0]._built is not None
            loading = asyncio.create_task(servers[0]._built.changes.load(models / "topics" / "1"))
            await reading.wait()
            signal.raise_signal(signal.SIGTERM)
            await process
        finally:
            read.set()  # else nothing would end here, either
        assert codes == [0]
        with pytest.raises(ModelFolderError):
            await loading
    assert [line for line in lines if line["log_level"] == "error"] == []


async def test_nothing_is_tidied_after_a_server_has_left(models: Path, tmp_path: Path) -> None:
    """What was put off for a moment after a load would find no thread any more, and be logged as a defect."""
    write_tiny_classifier(tmp_path / "topics" / "2", seed=1)
    async with serving(models) as (gatehouse, _):
        assert gatehouse._built is not None
        changes = gatehouse._built.changes
        assert (await changes.load(tmp_path / "topics" / "2")).change == "loaded"
        assert changes._tidying is not None
        await gatehouse.drain()
        assert changes._tidying.cancelled()


async def test_old_connections_are_left_and_nothing_is_lost_or_doubled(models: Path) -> None:
    """Under load, with connections that may be a fifth of a second old: every write of every session counts once,
    whether it went over a stream or by itself, and so does every document.
    """
    draw = random.Random(5)
    async with (
        serving(models, max_connection_age_seconds=0.2, max_connection_age_grace_seconds=0.05) as (
            gatehouse,
            ports,
        ),
        aio.Client(f"127.0.0.1:{ports.grpc}", timeout_seconds=60) as client,
        client.stream() as stream,
    ):
        sessions = [await stream.session("keyboard") for _ in range(6)]
        sessions += [await client.session("keyboard") for _ in range(6)]
        tapes: list[list[int]] = [[] for _ in sessions]
        ended = asyncio.Event()

        async def write(number: int) -> None:
            session, tape = sessions[number], tapes[number]
            while not ended.is_set():
                token = draw.randrange(2, WORDS)
                result = await session.append(tokens=[token])
                tape.append(token)
                assert result.position == len(tape)

        async def documents() -> AsyncIterator[tuple[str, str]]:
            number = 0
            while not ended.is_set():
                yield (str(number), "the star of the galaxy")
                number += 1
                await asyncio.sleep(0.002)

        def interruptions() -> int:
            return sum(session.resumptions.interruptions for session in sessions[:6])

        results: list[str] = []

        async def classify() -> None:
            async for result in client.classify(documents(), model="topics", in_order=True):
                assert result.error is None
                results.append(result.id)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for number in range(len(sessions)):
                group.create_task(write(number))
            group.create_task(classify())
            # Streams were cut again and again, and went on.
            while min(map(len, tapes)) < 20 or interruptions() < 30:  # noqa: ASYNC110 - nothing sets an event
                await asyncio.sleep(0.01)
            ended.set()
        assert results == [str(number) for number in range(len(results))]
        for session, tape in zip(sessions, tapes, strict=True):
            assert (await session.refresh()).position == len(tape)
            other = await client.session("keyboard")
            told = (await session.append(tokens=[7], k=5)).best
            again = (await other.append(tokens=[*tape, 7], k=5)).best
            assert [each.id for each in told] == [each.id for each in again]
            assert [each.log_probability for each in told] == pytest.approx(
                [each.log_probability for each in again], abs=1e-4
            )
        closed = gatehouse._metrics.registry.get_sample_value(
            "gatehouse_requests_total", {"method": "gatehouse.v1.OnlineService/Stream", "code": "CANCELLED"}
        )
        assert closed is not None
        assert closed > 1


async def test_a_stop_that_lost_something_says_so(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the state store did not take everything: the process then ends with 1."""
    async with serving(models, state_store=f"sqlite:{tmp_path / 'sessions.db'}") as (gatehouse, _):
        assert gatehouse._built is not None
        worker = gatehouse._built.worker
        assert worker is not None
        close = worker.close
        monkeypatch.setattr(worker, "close", lambda seconds: close(seconds) and False)
        assert await gatehouse.drain() is False


async def test_connections_are_kept_without_an_age(models: Path) -> None:
    """The default: a session without a shared store would not be found on another server."""
    assert Settings().max_connection_age_seconds == 0
    async with (
        serving(models) as (_, ports),
        aio.Client(f"127.0.0.1:{ports.grpc}") as client,
        client.stream() as stream,
    ):
        session = await stream.session("keyboard")
        for _ in range(50):
            await session.append(tokens=[5])
            await asyncio.sleep(0.01)
        assert session.resumptions.interruptions == 0
