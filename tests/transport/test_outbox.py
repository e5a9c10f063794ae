"""Results leave at once, gather while a write is under way, and nothing is written after a failure."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from gatehouse_server.transport.begun import Begun
from gatehouse_server.transport.outbox import Outbox


class Connection:
    """Takes messages, lists of results here, when the test lets it."""

    def __init__(self) -> None:
        self.taken: list[list[int]] = []
        self._gates: list[asyncio.Future[None]] = []

    async def write(self, message: list[int]) -> None:
        self.taken.append(list(message))
        self._gates.append(asyncio.get_running_loop().create_future())
        await self._gates[-1]

    def let_go(self, failure: Exception | None = None) -> None:
        gate = self._gates.pop()
        if failure is None:
            gate.set_result(None)
        else:
            gate.set_exception(failure)


@asynccontextmanager
async def writing(
    is_last: bool = False,
) -> AsyncIterator[tuple[Outbox[list[int]], Connection, asyncio.Task[None]]]:
    """An outbox that writes to a connection, and the task that ends when all is written."""
    connection = Connection()
    outbox: Outbox[list[int]] = Outbox(list, connection.write)
    task = asyncio.create_task(outbox.write_all(lambda: is_last))
    yield outbox, connection, task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_message_is_begun_before_the_loop_turns() -> None:
    """No turn of the event loop lies between an answer and its way to the connection."""
    async with writing() as (outbox, connection, _):
        outbox.message_for(1).append(7)
        outbox.wake()
        assert connection.taken == [[7]]


async def test_results_gather_while_a_write_is_under_way() -> None:
    """They leave as one message when it is done; until the connection took them they count as unwritten."""
    async with writing() as (outbox, connection, _):
        for number in range(3):
            outbox.message_for(10).append(number)
            outbox.wake()
        assert (connection.taken, outbox.unwritten, outbox.unwritten_bytes) == ([[0]], 3, 30)
        connection.let_go()
        await asyncio.sleep(0)
        assert (connection.taken, outbox.unwritten) == ([[0], [1, 2]], 2)
        connection.let_go()
        await asyncio.sleep(0)
        assert (outbox.unwritten, outbox.unwritten_bytes) == (0, 0)


async def test_it_ends_when_the_last_result_is_written() -> None:
    """Not before the connection has taken it."""
    async with writing(is_last=True) as (outbox, connection, task):
        outbox.message_for(1).append(1)
        outbox.wake()
        await asyncio.sleep(0)
        assert not task.done()
        connection.let_go()
        await task


async def test_nothing_is_written_after_a_failure() -> None:
    """Whoever waits for the end is told of it, and what was not taken stays counted."""
    async with writing() as (outbox, connection, task):
        await asyncio.sleep(0)
        for number in range(2):
            outbox.message_for(1).append(number)
            outbox.wake()
        connection.let_go(ConnectionError("gone"))
        with pytest.raises(ConnectionError):
            await task
        outbox.wake()
        assert (connection.taken, outbox.unwritten) == ([[0]], 2)


async def test_a_coroutine_is_begun_at_once_and_finished_later() -> None:
    """`done` hears of its end, or of what it raised, once."""
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()
    steps: list[object] = []

    async def run() -> None:
        steps.append("begun")
        await first
        await second

    Begun(run(), steps.append)
    assert steps == ["begun"]
    first.set_result(None)
    await asyncio.sleep(0)
    assert steps == ["begun"]
    error = ConnectionError("gone")
    second.set_exception(error)
    await asyncio.sleep(0)
    assert steps == ["begun", error]
