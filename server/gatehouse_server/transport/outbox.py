"""Results on their way to a stream: put together into messages, written one after the other, counted until
then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Message = TypeVar("Message")

_MESSAGE_BYTES = 1024 * 1024
"""Results share a message up to about this size; a larger one goes alone. Clients take 4 MiB unless told
otherwise.
"""


@dataclass(slots=True)
class _Outgoing(Generic[Message]):
    message: Message
    results: int = 0
    weight_bytes: int = 0


class Outbox(Generic[Message]):
    """What was answered and not yet written. Belongs to one event loop.

    While a write is under way, further results gather in the next message, so a slow connection gets fewer
    and larger ones. `unwritten` and `unwritten_bytes` count what the connection has not taken yet.
    """

    def __init__(
        self, new_message: Callable[[], Message], write: Callable[[Message], Awaitable[object]]
    ) -> None:
        self._new_message = new_message
        self._write = write
        self._outgoing: deque[_Outgoing[Message]] = deque()
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self.unwritten = 0
        self.unwritten_bytes = 0

    def message_for(self, weight_bytes: int) -> Message:
        """The message that the next result, of about this size, is to be put into."""
        last = self._outgoing[-1] if self._outgoing else None
        if last is None or last.weight_bytes + weight_bytes > _MESSAGE_BYTES:
            last = _Outgoing(self._new_message())
            self._outgoing.append(last)
        last.results += 1
        last.weight_bytes += weight_bytes
        self.unwritten += 1
        self.unwritten_bytes += weight_bytes
        return last.message

    def wake(self) -> None:
        """Something changed: results to write, room for more, or nothing more to come."""
        self._ready.set()
        self._room.set()

    async def room(self, is_room: Callable[[], bool]) -> None:
        """Waits until there is room."""
        while not is_room():
            self._room.clear()
            await self._room.wait()

    async def write_all(self, is_last: Callable[[], bool]) -> None:
        """Writes what comes until everything is written and `is_last` tells that nothing more will."""
        while True:
            self._ready.clear()
            while self._outgoing:
                outgoing = self._outgoing.popleft()
                await self._write(outgoing.message)
                self.unwritten -= outgoing.results
                self.unwritten_bytes -= outgoing.weight_bytes
                self._room.set()
            if is_last():
                return
            await self._ready.wait()
