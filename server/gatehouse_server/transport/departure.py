"""Telling open streams that the server is about to leave."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from gatehouse_server.errors import Draining

T = TypeVar("T")


class Departure:
    """Set once, when the server begins to drain; knows which calls are open. Of one event loop."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._open_calls = 0

    def begin(self) -> None:
        """From now on streams read no more, finish what they have read, and end."""
        self._begun.set()

    @property
    def begun(self) -> bool:
        """Whether the server is leaving."""
        return self._begun.is_set()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around a call that has to be finished before the server leaves."""
        self._open_calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._open_calls -= 1
            if not self._open_calls:
                self._idle.set()

    async def finished(self, timeout_seconds: float) -> bool:
        """Waits until no such call is open; tells whether that came about in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def unless_leaving(self, reading: Coroutine[Any, Any, T]) -> T:
        """What a stream's first message is; raises Draining when the server leaves before it comes."""
        reader, leaving = asyncio.create_task(reading), asyncio.create_task(self._begun.wait())
        try:
            await asyncio.wait({reader, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                raise Draining
            return reader.result()
        finally:
            for task in (reader, leaving):
                task.cancel()
            await asyncio.gather(reader, leaving, return_exceptions=True)

    async def conversation(
        self, *, reading: Coroutine[Any, Any, None], writing: Coroutine[Any, Any, None]
    ) -> None:
        """Runs both halves of a stream to their end.

        `writing` has to end by itself once `reading` has ended and everything is answered. When the server
        leaves, reading is cut short and the stream ends with Draining, after what was read has been answered.
        The first failure of either half ends both.
        """
        reader, writer = asyncio.create_task(reading), asyncio.create_task(writing)
        leaving = asyncio.create_task(self._begun.wait())
        try:
            await asyncio.wait({reader, writer, leaving}, return_when=asyncio.FIRST_COMPLETED)
            cut_short = leaving.done() and not reader.done()
            if cut_short:
                reader.cancel()
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_EXCEPTION)
            for half in (writer, reader):
                if half.done() and not half.cancelled():
                    half.result()
        finally:
            for task in (reader, writer, leaving):
                task.cancel()
            await asyncio.gather(reader, writer, leaving, return_exceptions=True)
        if cut_short:
            raise Draining
