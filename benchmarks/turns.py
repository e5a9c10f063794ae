"""Ways to do the same, timed in turns within one run, so that their ratios hold on a machine that others use, too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Tick = Callable[[], object]


@dataclass
class Turns:
    """What one way took: the median seconds of a call, one number for each turn."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """In microseconds."""
        return {
            "cpu_us": microseconds(min(self.cpu)),
            "cpu_median_us": microseconds(statistics.median(self.cpu)),
            "wall_us": microseconds(min(self.wall)),
            "wall_median_us": microseconds(statistics.median(self.wall)),
        }


def in_turns(ways: dict[str, Tick], turns: int, turn_seconds: float) -> dict[str, Turns]:
    """Runs all ways one after the other, several times; the first call of a turn warms the caches and is not timed.

    Each call is timed by itself, and a turn counts with its median: a call that lost the core to another program
    finds cold caches afterwards, which costs processor time too.
    """
    taken = {name: Turns() for name in ways}
    for _ in range(turns):
        for name, tick in ways.items():
            tick()
            wall, cpu, ends = [], [], time.perf_counter() + turn_seconds
            while time.perf_counter() < ends:
                began, cpu_began = time.perf_counter(), time.process_time()
                tick()
                cpu.append(time.process_time() - cpu_began)
                wall.append(time.perf_counter() - began)
            taken[name].wall.append(statistics.median(wall))
            taken[name].cpu.append(statistics.median(cpu))
    return taken


def microseconds(seconds: float) -> float:
    """Seconds as microseconds, to a tenth."""
    return round(1e6 * seconds, 1)
