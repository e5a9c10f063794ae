"""What a Gatehouse process tells of itself at /metrics."""

from __future__ import annotations

import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.server_process import ServerProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """The online ticks of a while."""

    count: int
    mean_seconds: float
    mean_sessions: float


def samples_of(server: ServerProcess) -> Mapping[str, float]:
    """The value of each series, summed over its labels."""
    with urllib.request.urlopen(f"http://{server.http_target}/metrics", timeout=10) as response:
        text = response.read().decode("utf-8")
    found: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] += sample.value
    return found


def ticks_between(before: Mapping[str, float], after: Mapping[str, float]) -> Ticks:
    """The ticks between two looks."""

    def grown(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    count = grown("gatehouse_online_compute_seconds_count")
    batches = max(1.0, grown("gatehouse_online_batch_sessions_count"))
    return Ticks(
        count=round(count),
        mean_seconds=grown("gatehouse_online_compute_seconds_sum") / max(1.0, count),
        mean_sessions=grown("gatehouse_online_batch_sessions_sum") / batches,
    )
