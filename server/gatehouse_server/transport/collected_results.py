"""The results of one unary call, in the order of its documents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gatehouse.v1 import offline_pb2


class CollectedResults:
    """A `ResultDesk` whose results stay until all are there. `has_room` is for whoever has the flow to set."""

    unwritten_bytes = 0

    def __init__(self, documents: int) -> None:
        self.response = offline_pb2.ClassifyResponse()
        for _ in range(documents):
            self.response.results.add()
        self.has_room: Callable[[], bool] = lambda: True
        self._changed = asyncio.Event()

    async def room(self, is_room: Callable[[], bool]) -> None:
        """See `ResultDesk`."""
        while not is_room():
            self._changed.clear()
            await self._changed.wait()

    def place(self, number: int, size_bytes: int) -> offline_pb2.DocumentResult:
        """See `ResultDesk`."""
        return self.response.results[number]

    def place_apart(
        self, number: int, size_bytes: int
    ) -> tuple[offline_pb2.DocumentResult, Callable[[], None]]:
        """See `ResultDesk`."""
        return self.response.results[number], lambda: None

    def flushed(self) -> None:
        """See `ResultDesk`."""
        self._changed.set()
