"""The fake server, a fresh one for each test, and clients of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from gatehouse import Client, aio

from tests.client.blocking import Blocking
from tests.client.fake_server import FakeServer


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A fake server on a port of its own."""
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture(params=["sync", "aio"])
def client(request: pytest.FixtureRequest, server: FakeServer) -> Iterator[Any]:
    """A client of the fake server: first the one twin, then the other behind blocking calls."""
    if request.param == "sync":
        with Client(server.target) as client:
            yield client
        return
    with asyncio.Runner() as runner:

        async def connect() -> aio.Client:
            return aio.Client(server.target)

        with Blocking(runner, runner.run(connect())) as blocking:
            yield blocking
