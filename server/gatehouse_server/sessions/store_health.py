"""Whether the state store works: what operations, probes and the log are told of it, and when it is tried again."""

from __future__ import annotations

import structlog

from gatehouse_server.sessions.backlog import Backlog
from gatehouse_server.sessions.keeping import Keeping

_log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS = 0.1
_LAST_RETRY_SECONDS = 2.0
_SLOW_SECONDS = 5.0


class StoreHealth:
    """Noted by the engine thread, asked from any. `retry_seconds` is how long what failed waits to be tried again, and
    0 where nothing does.
    """

    def __init__(self, keeping: Keeping, backlog: Backlog) -> None:
        self._keeping = keeping
        self._backlog = backlog
        self._failure: str | None = None
        self._told_lag_seconds = 0.0
        self.retry_seconds = 0.0

    @property
    def awaits_probe(self) -> bool:
        """Whether the store failed and nothing waits to be stored, which would tell when it works again."""
        return self._failure is not None and not self.retry_seconds

    def works(self) -> None:
        """The store took something."""
        if self._failure is not None:
            _log.info("the state store works again", unsaved_sessions=self._backlog.sessions)
        self.retry_seconds = 0.0
        self._failure = None

    def fails(self, problem: str) -> None:
        """The store failed."""
        if self._failure is None:
            _log.error("the state store fails", problem=problem)
        self._failure = problem

    def wait_longer(self) -> float:
        """The next retry waits for longer than the last one did; for how long."""
        self.retry_seconds = min(_LAST_RETRY_SECONDS, self.retry_seconds * 2 or _FIRST_RETRY_SECONDS)
        return self.retry_seconds

    def nothing_waits(self) -> None:
        """What could not be stored has ended."""
        self.retry_seconds = 0.0

    def tell_lag(self) -> None:
        """Has other threads know how long the oldest change has been waiting."""
        self._told_lag_seconds = self._backlog.lag_seconds

    def problem(self) -> str | None:
        """Why writes are refused, or not answered."""
        failure = self._failure
        if self._keeping.durability == "sync" and failure is not None:
            return f"fails, and writes are refused until it works: {failure}"
        lag_seconds = self._told_lag_seconds
        if lag_seconds > self._keeping.max_lag_seconds:
            what = "are refused" if self._keeping.durability == "async" else "wait"
            return f"has not taken anything for {lag_seconds:.0f} s; writes {what} until it does"
        return None

    def warning(self) -> str | None:
        """What is wrong with the store, though writes may be taken."""
        failure, lag_seconds = self._failure, self._told_lag_seconds
        if failure is not None:
            return f"fails: {failure}"
        if lag_seconds > _SLOW_SECONDS:  # one that hangs never says that it fails
            return f"has not taken anything for {lag_seconds:.0f} s"
        return None
