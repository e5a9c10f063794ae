"""Waiting on the event loop for the engine's answers to several operations at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gatehouse_server.engine.loop import Engine
from gatehouse_server.engine.ticket import Ticket


class Gathering:
    """A sink for the answers to so many operations, tagged 0 and up.

    `answers` is done with all of them, in the order of their tags; exceptions are among them. What comes when nobody
    waits any more goes to `unread`.
    """

    def __init__(self, count: int, unread: Callable[[object], None]) -> None:
        self.answers: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()
        self._missing = count
        self._answers: list[object] = [None] * count
        self._unread = unread

    def add(self, tag: int, outcome: object) -> None:
        """Takes one answer."""
        if self.answers.done():
            self._unread(outcome)
            return
        self._answers[tag] = outcome
        self._missing -= 1

    def flush(self) -> None:
        """All answers of a tick were added."""
        if not self._missing and not self.answers.done():
            self.answers.set_result(self._answers)


def submit_together(
    engine: Engine,
    operations: Sequence[object],
    *,
    client: str,
    begun: bool,
    unread: Callable[[object], None],
    deadline_seconds: float | None = None,
) -> asyncio.Future[list[object]]:
    """Hands operations to the engine, so that they share ticks as far as they can; the answers to be.

    `begun` as for `Engine.submit_all`, which also tells what is raised.
    """
    gathering = Gathering(len(operations), unread)
    received_seconds = engine.clock()
    engine.submit_all(
        [
            Ticket(
                operation=operation,
                sink=gathering,
                tag=tag,
                received_seconds=received_seconds,
                deadline_seconds=deadline_seconds,
                client=client,
            )
            for tag, operation in enumerate(operations)
        ],
        begun=begun,
    )
    return gathering.answers
