"""A stream over which nothing comes any more, although its connection lives."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from gatehouse import Client, aio, errors
from gatehouse.exchange import Exchange
from gatehouse.v1 import online_pb2

from tests.client.fake_server import FakeServer
from tests.client.under_way import wait_until_one_waits


@pytest.fixture(autouse=True)
def _soon_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A twentieth of a second is a long silence."""
    monkeypatch.setattr("gatehouse.exchange._LONGEST_SILENCE_SECONDS", 0.05)
    monkeypatch.setattr("gatehouse.exchange._SHORTEST_SILENCE_SECONDS", 0.0)


def test_a_silent_stream_is_replaced(client: Any, server: FakeServer) -> None:
    """A write and a suggestion, each on a stream that is never answered, are answered on the next one."""
    with client.stream() as stream:
        keyboard = stream.session("keyboard")
        server.online.streams_to_ignore = 1
        assert keyboard.append(text="how", k=1).position == 1
    assert server.online.writes_applied == 1
    server.online.streams_to_ignore = 1
    with client.stream() as stream:
        assert stream.suggest("how ").words[0] == "are"
    assert server.calls["OnlineService.Stream"] == 4


async def test_whoever_waits_on_a_silent_stream_is_answered_on_the_next(server: FakeServer) -> None:
    """Sixteen sessions wait on it; another takes its place, and each write is applied once."""
    async with aio.Client(server.target) as client, client.stream() as stream:
        sessions = [await stream.session("keyboard") for _ in range(16)]
        server.online.streams_to_ignore = 1
        await asyncio.gather(*(session.append(text="how") for session in sessions))
        assert [session.position for session in sessions] == [1] * 16
    assert server.calls["OnlineService.Stream"] >= 2
    assert server.online.writes_applied == 16


def test_a_slow_operation_on_a_quiet_stream_ends_with_its_answer(client: Any, server: FakeServer) -> None:
    """A server that needs longer than a silence may last, for the repetition too, is given the time on the next."""
    at_work = threading.Lock()

    def compute(write: online_pb2.SessionWrite) -> None:
        with at_work:  # the session's operations go one after the other
            threading.Event().wait(0.15)

    with client.stream() as stream:
        keyboard = stream.session("keyboard")
        server.online.on_write = compute
        assert keyboard.append(text="how").position == 1
    assert server.calls["OnlineService.Stream"] == 2
    assert server.online.writes_applied == 1


def _silent_once_closed(monkeypatch: pytest.MonkeyPatch, stream: Any) -> None:
    """Has no line taken for silent before the stream is closed."""
    is_silent = Exchange.is_silent

    def late(exchange: Exchange[Any], waited_seconds: float) -> bool:
        return stream._closed and is_silent(exchange, waited_seconds)

    monkeypatch.setattr(Exchange, "is_silent", late)


def test_closing_a_silent_stream_ends_what_a_thread_waits_for(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is given up all the same, and `close` does not wait as long as an operation may take."""
    with ThreadPoolExecutor(2) as pool, Client(server.target, timeout_seconds=60) as client:
        stream = client.stream()
        keyboard = stream.session("keyboard")
        server.online.streams_to_ignore = 1
        _silent_once_closed(monkeypatch, stream)
        answer = pool.submit(keyboard.append, text="how")
        wait_until_one_waits(server)
        pool.submit(stream.close).result(10)
        assert isinstance(answer.exception(10), errors.ClientClosedError)


async def test_closing_a_silent_stream_ends_what_a_task_waits_for(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Likewise."""
    async with aio.Client(server.target, timeout_seconds=60) as client:
        stream = client.stream()
        keyboard = await stream.session("keyboard")
        server.online.streams_to_ignore = 1
        _silent_once_closed(monkeypatch, stream)
        task = asyncio.create_task(keyboard.append(text="how"))
        await asyncio.to_thread(wait_until_one_waits, server)
        async with asyncio.timeout(10):
            await stream.close()
            with pytest.raises(errors.ClientClosedError):
                await task
