"""Results on their way to a stream: put together into messages, written one after the other, counted until
then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gatehouse_server.transport.begun import Begun

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

    A message is written at once when no other is under way. While one is, further results gather in the next, so a
    slow connection gets fewer and larger ones. `unwritten` and `unwritten_bytes` count what the connection has not
    taken yet.
    """

    def __init__(
        self, new_message: Callable[[], Message], write: Callable[[Message], Coroutine[Any, Any, object]]
    ) -> None:
        self._new_message = new_message
        self._write = write
        self._outgoing: deque[_Outgoing[Message]] = deque()
        self._under_way: _Outgoing[Message] | None = None
        self._room = asyncio.Event()
        self._is_last: Callable[[], bool] = lambda: False
        self._all_written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
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

    def put(self, message: Message, weight_bytes: int) -> None:
        """A message of one result, of about this size, that was put together elsewhere."""
        self._outgoing.append(_Outgoing(message, results=1, weight_bytes=weight_bytes))
        self.unwritten += 1
        self.unwritten_bytes += weight_bytes

    def wake(self) -> None:
        """Something changed: results to write, room for more, or nothing more to come."""
        self._room.set()
        if self._under_way is None and not self._all_written.done():
            self._write_next()

    async def room(self, is_room: Callable[[], bool]) -> None:
        """Waits until there is room."""
        while not is_room():
            self._room.clear()
            await self._room.wait()

    async def write_all(self, is_last: Callable[[], bool]) -> None:
        """Waits until everything is written and `is_last` tells that nothing more will come. Raises what made a
        write fail, after which nothing is written.
        """
        self._is_last = is_last
        self.wake()
        await self._all_written

    def _write_next(self) -> None:
        if self._outgoing:
            self._under_way = self._outgoing.popleft()
            Begun(self._write(self._under_way.message), self._written)
        elif self._is_last():
            self._all_written.set_result(None)

    def _written(self, failure: BaseException | None) -> None:
        written, self._under_way = self._under_way, None
        assert written is not None, "only what was under way is written"
        if self._all_written.done():  # cancelled: nobody reads any more
            return
        if failure is not None:
            self._all_written.set_exception(failure)
            return
        self.unwritten -= written.results
        self.unwritten_bytes -= written.weight_bytes
        self.wake()
