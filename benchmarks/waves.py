"""Load that comes in waves, as that of people does."""

from __future__ import annotations

import math
from dataclasses import dataclass

_DEPTH = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Pauses that are `mean_pause_seconds` long at the mean rate. The rate rises and falls by seven tenths of that
    within `period_seconds`.
    """

    mean_pause_seconds: float
    period_seconds: float

    def pause_seconds(self, seconds: float) -> float:
        """The mean pause at a moment of any clock."""
        return self.mean_pause_seconds / (1 + _DEPTH * math.sin(2 * math.pi * seconds / self.period_seconds))
