"""Calls of all kinds that the fake server keeps waiting, of either twin."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from gatehouse import aio

from tests.client.fake_server import FakeServer


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A client with a session and a stream with one; `read` takes all results of a loop."""

    client: Any
    session: Any
    stream: Any
    streamed: Any
    read: Callable[[Any], Any]


CALLS: dict[str, Callable[[Setting], Any]] = {
    "suggest": lambda on: on.client.suggest("how"),
    "append": lambda on: on.session.append(text="how"),
    "refresh": lambda on: on.session.refresh(),
    "session": lambda on: on.stream.session("keyboard"),
    "suggest on a stream": lambda on: on.stream.suggest("how"),
    "append on a stream": lambda on: on.streamed.append(text="how"),
    "generate": lambda on: on.read(on.client.generate("how", model="keyboard")),
    "classify": lambda on: on.read(on.client.classify([("a", "animals")], model="topics")),
}

each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def keep_waiting(server: FakeServer) -> None:
    """From now on the server answers nobody."""
    server.online.holds_on = True
    server.online.stall.clear()
    server.offline.stall.clear()


def wait_until_one_waits(server: FakeServer) -> None:
    """Until the server keeps another call waiting."""
    assert server.waiting.acquire(timeout=10)


def let_go(server: FakeServer) -> None:
    """Whoever waits is answered."""
    server.online.stall.set()
    server.offline.stall.set()


async def read(results: AsyncIterable[Any]) -> list[Any]:
    """All results of an asynchronous loop."""
    return [result async for result in results]


async def setting_of(client: aio.Client) -> Setting:
    """One of the asynchronous twin."""
    stream = client.stream()
    return Setting(
        client=client,
        session=await client.session("keyboard"),
        stream=stream,
        streamed=await stream.session("keyboard"),
        read=read,
    )
