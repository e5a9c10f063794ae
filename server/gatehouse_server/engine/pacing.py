"""How long documents may hold the device between two looks at the online work."""

from __future__ import annotations

from collections.abc import Callable

SHORTEST_SLICE_SECONDS = 0.001
"""Below this, more time goes into beginning and ending slices than documents can spare."""

_FORGETTING = 0.05
_IDLE_SECONDS = 1.0


class Pacing:
    """Leaves documents what the online latency target leaves: the target, less what online ticks take at present.

    An operation that comes while a slice runs waits for its end, and then takes a tick, so both together should stay
    within the target. Where the ticks alone take longer than that, a slice is as short as is sensible: documents
    get less, but never nothing. Used by the engine thread.
    """

    def __init__(self, *, target_seconds: float, clock: Callable[[], float]) -> None:
        self._target_seconds = target_seconds
        self._clock = clock
        self._tick_seconds = 0.0
        self._last_tick_seconds = clock()

    def online_ran(self, seconds: float) -> None:
        """Online models had ticks, which took so long together. Longer ones count at once, shorter ones by and by."""
        if seconds > self._tick_seconds:
            self._tick_seconds = seconds
        else:
            self._tick_seconds += _FORGETTING * (seconds - self._tick_seconds)
        self._last_tick_seconds = self._clock()

    def slice_seconds(self) -> float:
        """How long the next slice of documents may take."""
        if self._clock() - self._last_tick_seconds > _IDLE_SECONDS:
            self._tick_seconds = 0.0
        return max(SHORTEST_SLICE_SECONDS, self._target_seconds - self._tick_seconds)
