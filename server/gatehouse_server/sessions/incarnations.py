"""Numbers for the lives of sessions: never the same twice, also not after a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Incarnations:
    """Microseconds of the wall clock, made to rise. Called from several threads."""

    def __init__(self, wall_clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_clock_ns = wall_clock_ns
        self._last = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """The next number."""
        with self._lock:
            self._last = max(self._last + 1, self._wall_clock_ns() // 1000)
            return self._last
