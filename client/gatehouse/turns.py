"""Operations on one session go one after the other (the twin of `gatehouse.aio.turns`)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gatehouse.errors import DeadlineExceededError
from gatehouse.patience import Deadline


class Turn:
    """Had by one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def within(self, deadline: Deadline) -> Iterator[None]:
        """Waits for the turn and has it. DeadlineExceededError when those before took all the time."""
        if not self._lock.acquire(timeout=deadline.remaining_seconds()):
            raise no_turn()
        try:
            yield
        finally:
            self._lock.release()


def no_turn() -> DeadlineExceededError:
    """What is told to those whose time passed while they waited."""
    return DeadlineExceededError("earlier operations of the session took all the time; nothing was sent")
