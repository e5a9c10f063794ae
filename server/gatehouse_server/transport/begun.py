"""A coroutine that runs at once up to its first wait, instead of at the event loop's next turn as a task does.

A write to a connection has done all its work by its first wait, which is for the news that it is done. As a task it
would cost a turn of the loop more for each message, before anything is sent. (From Python 3.12 on asyncio has eager
tasks for this.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Begun:
    """Runs a coroutine on the running event loop; `done` is told once what it raised, if anything.

    It has no task: it cannot be cancelled, and must not ask for the current one, as `asyncio.timeout` does.
    """

    __slots__ = ("_coroutine", "_done")

    def __init__(
        self, coroutine: Coroutine[Any, Any, object], done: Callable[[BaseException | None], None]
    ) -> None:
        self._coroutine = coroutine
        self._done = done
        self._go_on()

    def _go_on(self, _: object = None) -> None:
        try:
            waits_for = self._coroutine.send(None)
        except StopIteration:
            self._done(None)
        except (Exception, asyncio.CancelledError) as error:
            self._done(error)
        else:
            waits_for.add_done_callback(self._go_on)
