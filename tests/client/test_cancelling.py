"""A task that its owner cancels ends cancelled, whatever it waits for, and no other does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest
from gatehouse import aio, errors
from gatehouse.aio.waiting import grpc_failures
from grpc.aio import AioRpcError, Metadata

from tests.client.fake_server import FakeServer
from tests.client.fake_status import refusal
from tests.client.under_way import (
    Setting,
    each_call,
    keep_waiting,
    let_go,
    read,
    setting_of,
    wait_until_one_waits,
)


@each_call
@pytest.mark.parametrize("closes", [False, True], ids=["open", "closing"])
async def test_a_cancelled_task_ends_cancelled(
    server: FakeServer, call: Callable[[Setting], Any], closes: bool
) -> None:
    """Also when its client is closed in the same moment."""
    async with aio.Client(server.target) as client:
        setting = await setting_of(client)
        keep_waiting(server)
        task = asyncio.create_task(call(setting))
        await asyncio.to_thread(wait_until_one_waits, server)
        task.cancel()
        if closes:
            await client.close()
        await asyncio.wait((task,), timeout=10)
        let_go(server)
        assert task.cancelled()


async def _end(status: grpc.StatusCode | None) -> None:
    """What a call of gRPC does that ends in the moment in which it is cancelled."""
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    if status is not None:
        raise AioRpcError(status, Metadata(), Metadata(), "just now")


@pytest.mark.parametrize("status", [None, grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE])
async def test_a_call_that_ends_just_then_does_not_hide_the_cancellation(
    status: grpc.StatusCode | None,
) -> None:
    """Otherwise it would be repeated, in a task whose owner waits for its end."""

    async def ask() -> None:
        with grpc_failures():
            await _end(status)

    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,), timeout=10)
    assert task.cancelled()


async def test_a_deadline_of_asyncio_is_one(server: FakeServer) -> None:
    """`asyncio.timeout` around a call ends in its TimeoutError."""
    async with aio.Client(server.target) as client:
        server.online.stall.clear()
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.1):
                await client.suggest("how")
        server.online.stall.set()
        assert not isinstance(caught.value, errors.GatehouseError)


async def test_a_cancelled_task_may_still_call(server: FakeServer) -> None:
    """What it does to clean up is repeated and answered as ever."""
    answered = asyncio.Event()
    async with aio.Client(server.target) as client:

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                server.online.calls_to_refuse = [refusal(grpc.StatusCode.UNAVAILABLE, "restarting")]
                assert (await client.suggest("how are you do")).words == ["doing", "done"]
                answered.set()

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,), timeout=10)
        assert task.cancelled()
        assert answered.is_set()


async def test_a_task_that_reads_a_cancelled_generation_ends_cancelled(server: FakeServer) -> None:
    """That of the generation ends the loop, that of the task the task."""
    server.online.holds_on = True
    async with aio.Client(server.target) as client:
        generation = client.generate("how", model="keyboard")
        begun = asyncio.Event()

        async def reader() -> None:
            async for _ in generation:
                begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(reader())
        await begun.wait()
        await generation.cancel()
        task.cancel()
        await asyncio.wait((task,), timeout=10)
        assert task.cancelled()


async def test_an_iterable_whose_own_waiting_was_cancelled_ends_the_loop(server: FakeServer) -> None:
    """What the iterable raises comes out of the loop over the results, CancelledError too."""

    async def documents() -> AsyncIterator[tuple[str, str]]:
        yield "a", "animals"
        something = asyncio.ensure_future(asyncio.Event().wait())
        something.cancel()
        await something

    async with aio.Client(server.target) as client:
        task = asyncio.create_task(read(client.classify(documents(), model="topics")))
        await asyncio.wait((task,), timeout=10)
        assert task.cancelled()
        assert task.cancelling() == 0


async def test_a_loop_that_is_cancelled_leaves_no_task(server: FakeServer) -> None:
    """Those that served it have ended with it."""
    server.offline.stall.clear()
    async with aio.Client(server.target) as client:
        before = asyncio.all_tasks()
        task = asyncio.create_task(read(client.classify([("a", "animals")], model="topics")))
        assert await asyncio.to_thread(server.offline.began.wait, 10)
        task.cancel()
        await asyncio.wait((task,), timeout=10)
        server.offline.stall.set()
        assert not [each for each in asyncio.all_tasks() - before if each.get_name().startswith("gatehouse-")]
