"""Operations on one session go one after the other, within their deadlines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

import pytest
from gatehouse import Client, aio, errors
from gatehouse.aio.turns import Turn as AsyncTurn
from gatehouse.patience import Deadline
from gatehouse.turns import Turn

from tests.client.fake_server import FakeServer
from tests.client.under_way import wait_until_one_waits

OPERATIONS: dict[str, Callable[..., Any]] = {
    "write": lambda session, stream, **options: session.append(text="are", **options),
    "rewind": lambda session, stream, **options: session.rewind(to=0, **options),
    "repeat": lambda session, stream, **options: session.repeat(**options),
    "refresh": lambda session, stream, **options: session.refresh(**options),
    "delete": lambda session, stream, **options: session.delete(**options),
    "suggest": lambda session, stream, **options: stream.suggest("how", session="s", **options),
}
each_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


@each_operation
def test_a_thread_waits_for_its_turn_until_its_deadline(
    server: FakeServer, operation: Callable[..., Any]
) -> None:
    """The operation before it takes long; nothing of its own is sent, and nothing is left unanswered."""
    with ThreadPoolExecutor(2) as pool, Client(server.target) as client, client.stream() as stream:
        session = client.session("keyboard")
        server.online.stall.clear()
        first: list[Future[Any]] = [
            pool.submit(session.append, text="how"),
            pool.submit(stream.suggest, "how", session="s"),
        ]
        _until_both_wait(server)
        calls = server.calls.total()
        with pytest.raises(errors.DeadlineExceededError, match="nothing was sent"):
            operation(session, stream, timeout_seconds=0.1)
        assert server.calls.total() == calls
        server.online.stall.set()
        for each in first:
            each.result(10)
        assert session.append(text="are").position == 2


@each_operation
async def test_a_task_waits_for_its_turn_until_its_deadline(
    server: FakeServer, operation: Callable[..., Any]
) -> None:
    """Likewise."""
    async with aio.Client(server.target) as client, client.stream() as stream:
        session = await client.session("keyboard")
        server.online.stall.clear()
        first = asyncio.gather(session.append(text="how"), stream.suggest("how", session="s"))
        await asyncio.to_thread(_until_both_wait, server)
        calls = server.calls.total()
        with pytest.raises(errors.DeadlineExceededError, match="nothing was sent"):
            await operation(session, stream, timeout_seconds=0.1)
        assert server.calls.total() == calls
        server.online.stall.set()
        await first
        assert (await session.append(text="are")).position == 2


async def test_a_task_that_is_cancelled_while_it_waits_takes_no_turn(server: FakeServer) -> None:
    """It ends cancelled, and those behind it get theirs, in their order."""
    async with aio.Client(server.target) as client:
        session = await client.session("keyboard")
        server.online.stall.clear()
        tasks = [asyncio.create_task(session.append(text=word)) for word in ("how", "today", "are", "you")]
        await asyncio.to_thread(wait_until_one_waits, server)
        tasks[1].cancel()
        server.online.stall.set()
        await asyncio.wait(tasks, timeout=10)
        assert tasks[1].cancelled()
        assert [task.result().position for task in (tasks[0], *tasks[2:])] == [1, 2, 3]


async def test_who_comes_as_the_turn_changes_hands_waits_within_its_deadline() -> None:
    """The turn is free for a moment, but the one who has waited for it longest gets it, and keeps it."""
    turn, done = AsyncTurn(), asyncio.Event()

    async def keep() -> None:
        async with turn.within(Deadline(10)):
            await done.wait()

    async with turn.within(Deadline(10)):
        keeper = asyncio.create_task(keep())
        await asyncio.sleep(0)
    with pytest.raises(errors.DeadlineExceededError):
        async with asyncio.timeout(10), turn.within(Deadline(0)):
            pass
    done.set()
    await keeper
    async with turn.within(Deadline(0)):
        pass  # free again


def test_threads_that_begin_at_once_share_a_turn(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two first suggestions of a session find one turn, whoever looks first."""
    meeting = threading.Barrier(2)
    found: list[Turn] = []

    class Slow(WeakValueDictionary[str, Turn]):
        """Between looking and keeping another thread may look: here, if it can, it does."""

        def setdefault(self, key: str, default: Turn | None = None) -> Turn:
            turn = self.get(key)
            if turn is None:
                with suppress(threading.BrokenBarrierError):
                    meeting.wait(0.2)
                assert default is not None
                self[key] = turn = default
            found.append(turn)
            return turn

    with ThreadPoolExecutor(2) as pool, Client(server.target) as client, client.stream() as stream:
        monkeypatch.setattr(stream, "_turns", Slow())
        for each in [pool.submit(stream.suggest, "how", session="s") for _ in range(2)]:
            each.result(10)
    assert len(found) == 2
    assert found[0] is found[1]


def _until_both_wait(server: FakeServer) -> None:
    """Until a write and an operation of a stream are kept waiting by the server."""
    for _ in range(2):
        wait_until_one_waits(server)
