"""Rows for tasks, read in a thread of their own: whoever is slow to write them holds up nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from queue import SimpleQueue

from gatehouse.command.rows import BadRow, Row


class RowThread:
    """The rows of an iterator, one for each call, whichever task it comes from.

    The thread is a daemon, which the pools of `asyncio.to_thread` are not: a command may end while it waits for a
    row.
    """

    def __init__(self, rows: Iterator[Row | BadRow]) -> None:
        self._rows = rows
        self._asked: SimpleQueue[Future[Row | BadRow | None] | None] = SimpleQueue()
        threading.Thread(target=self._read, name="gatehouse-rows", daemon=True).start()

    async def next_row(self) -> Row | BadRow | None:
        """The next row; None when there is none. Raises what the iterator raises."""
        answer: Future[Row | BadRow | None] = Future()
        answer.set_running_or_notify_cancel()  # so that the thread may answer it even when nobody waits any more
        self._asked.put(answer)
        return await asyncio.wrap_future(answer)

    def end(self) -> None:
        """Nobody asks any more."""
        self._asked.put(None)

    def _read(self) -> None:
        while (answer := self._asked.get()) is not None:
            try:
                answer.set_result(next(self._rows, None))
            except BaseException as error:
                answer.set_exception(error)
