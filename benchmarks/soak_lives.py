"""Lives of server processes in a soak: how each began and ended, and what it held of memory meanwhile."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

JUDGED_LIFE_SECONDS = 120.0
"""A shorter life is all warm-up."""

MOST_GROWTH = 1.02
"""As of the test of leaks."""


@dataclass(slots=True, kw_only=True)
class Life:
    """One process, from `begun` (asked to start) to its end. Seconds are those of `time.monotonic`.

    `resident_bytes` has what it held, once a second since it `served`. `exit_code` is None while it lives.
    """

    replica: int
    begun: float
    served: float
    told_to_leave: float | None = None
    left: float | None = None
    exit_code: int | None = None
    resident_bytes: list[tuple[float, int]] = field(default_factory=list)

    @property
    def start_seconds(self) -> float:
        """How long it took to serve."""
        return self.served - self.begun

    @property
    def leaving_seconds(self) -> float | None:
        """How long it took to leave."""
        return None if self.told_to_leave is None or self.left is None else self.left - self.told_to_leave

    def changed(self, begun: float, ended: float) -> bool:
        """Whether it was about to start or to leave at any time between these moments."""
        starting = self.begun <= ended and self.served >= begun
        leaving = self.told_to_leave is not None and self.told_to_leave <= ended
        return starting or (leaving and (self.left is None or self.left >= begun))

    def told(self, origin: float) -> dict[str, float | int | None]:
        """When it did what, in seconds since a moment."""
        moments = {
            "begun": self.begun,
            "served": self.served,
            "told_to_leave": self.told_to_leave,
            "left": self.left,
        }
        since = {name: None if at is None else round(at - origin, 3) for name, at in moments.items()}
        return {"replica": self.replica, **since}

    def growth(self, since: float) -> float | None:
        """What it held in the last third of its life, over what it held in the middle third; medians. The life counts
        from a moment on. None when it is too short then to tell.
        """
        begun = max(since, self.served)
        held = [(at - begun, size) for at, size in self.resident_bytes if at >= begun]
        if not held or held[-1][0] < JUDGED_LIFE_SECONDS:
            return None
        third = held[-1][0] / 3
        middle = statistics.median(size for at, size in held if third <= at <= 2 * third)
        return statistics.median(size for at, size in held if at >= 2 * third) / middle


def growths(lives: Sequence[Life], since: float) -> list[float]:
    """Of the lives that are long enough from a moment on."""
    found = (life.growth(since) for life in lives)
    return [growth for growth in found if growth is not None]
