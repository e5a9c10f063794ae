"""Operations on one session go one after the other (the twin of `gatehouse.turns`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gatehouse.patience import Deadline
from gatehouse.turns import no_turn


class Turn:
    """Had by one task at a time, in the order in which they asked."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0

    @asynccontextmanager
    async def within(self, deadline: Deadline) -> AsyncIterator[None]:
        """Waits for the turn and has it. DeadlineExceededError when those before took all the time."""
        if self._lock.locked() or self._waiting:
            await self._wait(deadline)
        else:
            await self._lock.acquire()  # at once; a timeout would cost each write some microseconds
        try:
            yield
        finally:
            self._lock.release()

    async def _wait(self, deadline: Deadline) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(deadline.remaining_seconds()):
                await self._lock.acquire()
        except TimeoutError:
            raise no_turn() from None
        finally:
            self._waiting -= 1
