"""A histogram that costs little to fill: counts by bin, made into Prometheus' form when somebody looks.

`Histogram.observe` of the Prometheus client takes a lock and several objects for each value; six of those per
write cost 18 % of a small model's throughput. Here a whole tick's values are counted under the lock of its
owner.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

ONLINE_SECONDS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.25, 0.5, 1.0, 2.5),
)
"""Upper edges for what online work waits for, seconds."""

OFFLINE_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""Upper edges for what whole documents wait for, seconds."""

BATCH_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
"""Upper edges for how many rows work together."""

# Below this many values a search per value in C beats numpy's start-up cost.
_FEW = 24


class Bins:
    """Counts of values at most each edge. Not safe across threads: its owner holds a lock."""

    __slots__ = ("_counts", "_edges", "_edges_array", "_total")

    def __init__(self, edges: Sequence[float]) -> None:
        self._edges = tuple(edges)
        self._edges_array = np.array(edges, dtype=np.float64)
        self._counts = [0] * (len(self._edges) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        """Counts one value."""
        self._counts[bisect_left(self._edges, value)] += 1
        self._total += value

    def add_all(self, values: Sequence[float]) -> None:
        """Counts several values."""
        if len(values) <= _FEW:
            for value in values:
                self.add(value)
            return
        array = np.asarray(values, dtype=np.float64)
        found = np.bincount(
            np.searchsorted(self._edges_array, array, side="left"), minlength=len(self._counts)
        )
        self._counts = [count + int(more) for count, more in zip(self._counts, found, strict=True)]
        self._total += float(array.sum())

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper edge, as Prometheus has them."""
        cumulative, buckets = 0, []
        for edge, count in zip((*map(str, self._edges), "+Inf"), self._counts, strict=True):
            cumulative += count
            buckets.append((edge, float(cumulative)))
        return buckets

    @property
    def edges(self) -> tuple[float, ...]:
        """The upper edges."""
        return self._edges

    @property
    def counts(self) -> tuple[int, ...]:
        """How many values up to each edge and beyond the one before; last, how many beyond the last."""
        return tuple(self._counts)

    @property
    def total(self) -> float:
        """The sum of all values."""
        return self._total

    @property
    def count(self) -> int:
        """How many values."""
        return sum(self._counts)
