"""Many sessions on one stream."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from gatehouse import Client, aio, errors

from tests.client.fake_server import FakeServer


def test_sessions_and_suggestions_work_over_a_stream(client: Any, server: FakeServer) -> None:
    """A session of a stream behaves as one of the client, and its writes are not unary calls."""
    with client.stream() as stream:
        keyboard = stream.session("keyboard")
        assert keyboard.append(text="how are you", k=1).best[0].text == "doing"
        assert keyboard.rewind(to=1).position == 1
        assert stream.attach(keyboard.id).append(text="i").position == 2
        assert stream.suggest("how are you do").words == ["doing", "done"]
    assert server.calls["OnlineService.Write"] == 0
    assert server.calls["OnlineService.Stream"] == 1


def test_an_operation_that_fails_disturbs_no_other(client: Any) -> None:
    """A refused write raises its own exception; the stream goes on."""
    with client.stream() as stream:
        keyboard = stream.session("keyboard")
        with pytest.raises(errors.InvalidInputError):
            keyboard.append(tokens=[2] * 100)
        assert keyboard.append(text="how").revision == 1


def test_a_write_that_fits_into_no_message_ends_no_stream(client: Any, server: FakeServer) -> None:
    """It alone is refused, at once, and is not left unanswered."""
    with client.stream() as stream:
        keyboard = stream.session("keyboard")
        keyboard.append(text="how")
        for size in (17_000_000, 16 * 1024 * 1024 - 512):
            with pytest.raises(errors.MessageTooLargeError):
                keyboard.append(text="x" * size)
        assert keyboard.append(text="are").revision == 2
    assert server.calls["OnlineService.Stream"] == 1


def test_a_broken_stream_is_opened_again_and_nothing_applied_twice(client: Any, server: FakeServer) -> None:
    """The stream breaks twice after the write was applied: it is repeated, and applied once."""
    with client.stream() as stream:
        keyboard = stream.session("keyboard")
        server.online.streams_to_break = 2
        result = keyboard.append(text="how are you")
        assert (result.repeated, result.position) == (True, 3)
        assert server.online.writes_applied == 1
        assert stream.suggest("how ").words[0] == "are"
    assert server.calls["OnlineService.Stream"] == 3


def test_an_operation_without_answer_ends_at_its_deadline(client: Any, server: FakeServer) -> None:
    """No answer in time is DeadlineExceededError; the write can be repeated afterwards."""
    with client.stream() as stream:
        keyboard = stream.session("keyboard")
        server.online.stall.clear()
        with pytest.raises(errors.DeadlineExceededError):
            keyboard.append(text="how", timeout_seconds=0.2)
        server.online.stall.set()
        assert keyboard.repeat().position == 1
    assert server.online.writes_applied == 1


def test_a_closed_stream_takes_nothing(client: Any) -> None:
    """After close an operation is refused, and closing again does nothing."""
    stream = client.stream()
    keyboard = stream.session("keyboard")
    assert stream.suggest("how ").words[0] == "are"
    stream.close()
    stream.close()
    with pytest.raises(RuntimeError, match="closed"):
        stream.suggest("how ")
    for _ in range(2):  # a write of which nothing was sent is not left unanswered
        with pytest.raises(RuntimeError, match="closed"):
            keyboard.append(text="how")


def test_an_operation_on_a_stream_of_a_closed_client_fails_at_once(client: Any) -> None:
    """It is told that the client is closed, and does not wait for its deadline."""
    stream = client.stream()
    client.close()
    with pytest.raises(Exception, match=r"(?i)closed"):
        stream.suggest("how ")


async def test_what_no_repetition_mends_ends_the_operation(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect in reading a stream, as that of a client of another event loop, is raised and not waited out."""

    def claim(self: object, tag: int) -> None:
        raise RuntimeError("attached to a different loop")

    monkeypatch.setattr("gatehouse.exchange.Exchange.claim", claim)
    async with aio.Client(server.target) as client, client.stream() as stream:
        with pytest.raises(RuntimeError, match="different loop"):
            await stream.suggest("how ")


async def test_operations_that_wait_go_into_one_message(server: FakeServer) -> None:
    """64 tasks that write at the same time need far fewer than 64 messages."""
    async with aio.Client(server.target) as client, client.stream() as stream:
        sessions = [await stream.session("keyboard") for _ in range(64)]
        await asyncio.gather(*(session.append(text="how are", k=1) for session in sessions))
        assert sum(server.online.stream_messages) == 64
        assert len(server.online.stream_messages) <= 4
        assert all(session.position == 2 for session in sessions)


def test_threads_share_a_stream(server: FakeServer) -> None:
    """16 threads with a session each write over one stream, and each gets its own answers."""
    with Client(server.target) as client, client.stream() as stream:
        sessions = [stream.session("keyboard") for _ in range(16)]

        def write(number: int) -> list[int]:
            return [
                sessions[number].append(tokens=[number % 10], scores=True).token_ids[0] for _ in range(10)
            ]

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(write, range(16)))
        assert answers == [[number % 10] * 10 for number in range(16)]
    assert server.calls["OnlineService.Stream"] == 1


async def test_of_one_session_one_operation_is_under_way(server: FakeServer) -> None:
    """Suggestions for one session wait for each other, so that the server never stops reading for them."""
    async with aio.Client(server.target) as client, client.stream() as stream:
        await asyncio.gather(*(stream.suggest("how " * count, session="s") for count in range(1, 20)))
    assert server.online.stream_messages == [1] * 19


async def test_a_cancelled_task_leaves_its_write_unanswered(server: FakeServer) -> None:
    """A cancelled write may have been applied: the session wants `repeat` before the next."""
    async with aio.Client(server.target) as client, client.stream() as stream:
        keyboard = await stream.session("keyboard")
        server.online.stall.clear()
        task = asyncio.create_task(keyboard.append(text="how"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.online.stall.set()
        with pytest.raises(errors.UnansweredWriteError):
            await keyboard.append(text="are")
        assert (await keyboard.repeat()).position == 1
