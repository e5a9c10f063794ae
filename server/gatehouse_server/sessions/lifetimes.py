"""Until when stored sessions live: the clock of this process beside the wall clock that the store knows."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.stored import Stored
from gatehouse_server.stores.port import Summary

_log = structlog.get_logger(__name__)

_UNTOLD_SHARE = 1 / 60
"""How much of its idle time a session may gain by being used without the store being told."""
_CLOCK_JUMP_SECONDS = 60.0


class Lifetimes:
    """Used by the engine thread."""

    def __init__(
        self, *, limits: SessionLimits, clock: Callable[[], float], wall_clock: Callable[[], float]
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._wall_clock = wall_clock
        self._grace_began_seconds = clock()
        self._ahead_seconds = wall_clock() - clock()

    @property
    def in_grace(self) -> bool:
        """Whether the server started so recently that nobody may have been able to use a session."""
        return self._clock() < self._grace_ends_seconds

    @property
    def over_unix_seconds(self) -> float:
        """What ended by then according to the store has ended for sure, also if it was used without being told."""
        return self._wall_clock() - self._limits.idle_seconds * _UNTOLD_SHARE

    @property
    def new_unix_seconds(self) -> float:
        """Until when a session lives that is made now."""
        return self._wall_clock() + self._limits.idle_seconds

    def unix_seconds(self, expires_seconds: float) -> float:
        """A time of this process's clock by the wall clock."""
        return self._wall_clock() + expires_seconds - self._clock()

    def is_told_late(self, stored: Stored) -> bool:
        """Whether a session that was used now should be told to the store, lest that takes it for an idle one."""
        late = self._wall_clock() + self._limits.idle_seconds * (1 - _UNTOLD_SHARE)
        return stored.expires_unix_seconds < late

    def is_over(self, summary: Summary, *, was_ours: bool) -> bool:
        """Whether the time of a stored session is up."""
        return self.expires_seconds(summary, was_ours=was_ours) <= self._clock()

    def expires_seconds(self, summary: Summary, *, was_ours: bool) -> float:
        """When a stored session's time is up, by the clock of this process. What it let go of itself it told the store
        exactly; another process may have let it be used since, and told its client so.
        """
        self.notice_clock()
        idle_seconds = self._limits.idle_seconds
        left_seconds = summary.expires_unix_seconds - self._wall_clock()
        if not was_ours:
            left_seconds += idle_seconds * _UNTOLD_SHARE
        left_seconds = min(left_seconds, idle_seconds)  # more than that only a clock that was set back tells
        return max(self._clock() + left_seconds, self._grace_ends_seconds)

    def notice_clock(self) -> None:
        """When the wall clock was set forward, or all stood still, sessions get the time that a restart gives them."""
        ahead_seconds = self._wall_clock() - self._clock()
        if ahead_seconds > self._ahead_seconds + _CLOCK_JUMP_SECONDS:
            _log.warning("the clock went forward", seconds=round(ahead_seconds - self._ahead_seconds))
            self._grace_began_seconds = self._clock()
        self._ahead_seconds = ahead_seconds

    @property
    def _grace_ends_seconds(self) -> float:
        return self._grace_began_seconds + self._limits.grace_seconds
