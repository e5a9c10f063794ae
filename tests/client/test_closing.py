"""A client that is closed while calls are under way: they are told so, at once, and are not repeated."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from gatehouse import Client, aio, errors
from grpc.aio import UsageError

from tests.client.fake_server import FakeServer
from tests.client.fake_status import refusal
from tests.client.under_way import Setting, each_call, keep_waiting, let_go, setting_of, wait_until_one_waits


def _no_pause(seconds: float) -> None:
    raise AssertionError("what is closed is not tried again")


@each_call
def test_calls_of_threads_end(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, call: Callable[[Setting], Any]
) -> None:
    """Another thread closes the client: ClientClosedError, which is an UnavailableError, without another attempt."""
    for module in ("calls", "session"):
        monkeypatch.setattr(f"gatehouse.{module}.time", SimpleNamespace(sleep=_no_pause))
    with ThreadPoolExecutor(1) as pool, Client(server.target) as client:
        stream = client.stream()
        setting = Setting(
            client=client,
            session=client.session("keyboard"),
            stream=stream,
            streamed=stream.session("keyboard"),
            read=list,
        )
        keep_waiting(server)
        answer = pool.submit(call, setting)
        wait_until_one_waits(server)
        client.close()
        error = answer.exception(10)
        let_go(server)
    assert isinstance(error, errors.ClientClosedError)
    assert isinstance(error, errors.UnavailableError)
    assert error.reason == "CLIENT_CLOSED"


@each_call
async def test_calls_of_tasks_end(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, call: Callable[[Setting], Any]
) -> None:
    """Another task closes the client: the same exception, and no CancelledError, since nobody cancelled the task."""
    for module in ("calls", "session"):
        monkeypatch.setattr(f"gatehouse.aio.{module}.asyncio", SimpleNamespace(sleep=_no_pause))
    async with aio.Client(server.target) as client:
        setting = await setting_of(client)
        keep_waiting(server)
        task = asyncio.create_task(call(setting))
        await asyncio.to_thread(wait_until_one_waits, server)
        await client.close()
        async with asyncio.timeout(10):
            with pytest.raises(errors.ClientClosedError):
                await task
        let_go(server)


def test_a_loop_of_a_thread_that_waits_for_its_iterable_ends(server: FakeServer) -> None:
    """No document is under way, and the iterable has nothing: the loop over the results ends all the same."""
    go_on = threading.Event()

    def idle() -> Iterator[tuple[str, str]]:
        yield "a", "animals"
        go_on.wait(10)

    with ThreadPoolExecutor(1) as pool, Client(server.target) as client:
        results = client.classify(idle(), model="topics")
        assert next(results).label == "animals"
        following = pool.submit(next, results)
        client.close()
        error = following.exception(10)
        go_on.set()
    assert isinstance(error, errors.ClientClosedError)


async def test_a_loop_of_a_task_that_waits_for_its_iterable_ends(server: FakeServer) -> None:
    """Likewise."""

    async def idle() -> AsyncIterator[tuple[str, str]]:
        yield "a", "animals"
        await asyncio.Event().wait()

    async with aio.Client(server.target) as client:
        results = client.classify(idle(), model="topics")
        assert (await anext(results)).label == "animals"
        following = asyncio.ensure_future(anext(results))
        await asyncio.sleep(0)
        await client.close()
        async with asyncio.timeout(10):
            with pytest.raises(errors.ClientClosedError):
                await following


CALLS_REPEATED: dict[str, Callable[[Any, Any], Any]] = {
    "suggest": lambda client, session: client.suggest("how"),
    "append": lambda client, session: session.append(text="how"),
}
each_repeated = pytest.mark.parametrize("call", CALLS_REPEATED.values(), ids=CALLS_REPEATED)


@each_repeated
def test_between_two_attempts_of_a_thread(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, call: Callable[[Any, Any], Any]
) -> None:
    """A call whose first attempt failed is under way in the pause, too."""
    with Client(server.target) as client:
        session = client.session("keyboard")
        clock = SimpleNamespace(sleep=lambda seconds: client.close())
        for module in ("calls", "session"):
            monkeypatch.setattr(f"gatehouse.{module}.time", clock)
        server.online.calls_to_refuse = [refusal(grpc.StatusCode.UNAVAILABLE, "restarting")]
        with pytest.raises(errors.ClientClosedError):
            call(client, session)


@each_repeated
async def test_between_two_attempts_of_a_task(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, call: Callable[[Any, Any], Any]
) -> None:
    """Likewise."""
    async with aio.Client(server.target) as client:
        session = await client.session("keyboard")

        async def sleep(seconds: float) -> None:
            await client.close()

        for module in ("calls", "session"):
            monkeypatch.setattr(f"gatehouse.aio.{module}.asyncio", SimpleNamespace(sleep=sleep))
        server.online.calls_to_refuse = [refusal(grpc.StatusCode.UNAVAILABLE, "restarting")]
        with pytest.raises(errors.ClientClosedError):
            await call(client, session)


def test_a_loop_between_two_streams_ends(
    client: Any, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection broke, and the client is closed before it is made again."""
    plain = isinstance(client, Client)
    closing: list[object] = []  # kept, as the loop keeps no task by itself

    def pauses() -> Iterator[float]:
        if plain:
            client.close()
        else:
            closing.append(asyncio.ensure_future(client.inner.close()))
        yield 0.05

    monkeypatch.setattr(f"gatehouse.{'' if plain else 'aio.'}classification.pauses", pauses)
    server.offline.break_after = 1
    with pytest.raises(errors.ClientClosedError):
        list(client.classify([("a", "animals")], model="topics"))


def test_later_calls_are_not_sent_and_leave_nothing_unanswered(client: Any) -> None:
    """They raise what gRPC raises of a closed channel, each time the same."""
    session = client.session("keyboard")
    client.close()
    for _ in range(2):
        with pytest.raises((ValueError, UsageError), match=r"(?i)closed"):
            session.append(text="how")
