"""How the server as a whole is: ready, full, late. Asked when somebody looks; only the event loop's lag is counted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gatehouse_server.telemetry.bins import ONLINE_SECONDS, Bins

_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What there is room for. `rows` by model key: how many states are in use, and how many fit into its table."""

    queue: int
    live_sessions: int
    resident_sessions: int
    sessions: int
    rows: Callable[[], Mapping[str, tuple[int, int]]]
    device_memory: Callable[[], Mapping[str, int]]


class ServerMetrics(Collector):
    """Series of their own. `unready` and `unhealthy` tell why it is not, see `Readiness`."""

    def __init__(
        self, *, unready: Callable[[], Mapping[str, str]], unhealthy: Callable[[], Mapping[str, str]]
    ) -> None:
        self._unready, self._unhealthy = unready, unhealthy
        self._lock = threading.Lock()
        self._lag = Bins(ONLINE_SECONDS)
        self._start_seconds: dict[str, float] = {}
        self._started_at: float | None = None
        self._capacity: Capacity | None = None

    def stage(self, name: str, seconds: float) -> None:
        """A stage of the start took so long."""
        with self._lock:
            self._start_seconds[name] = seconds

    def serving(self, capacity: Capacity) -> None:
        """From now on it serves, with room for so much."""
        self._started_at = time.time()
        self._capacity = capacity

    @property
    def serving_since_unix_seconds(self) -> float | None:
        """When it began to serve; None until then."""
        return self._started_at

    @property
    def start_seconds(self) -> Mapping[str, float]:
        """How long each stage of the start took."""
        with self._lock:
            return dict(self._start_seconds)

    async def watch_lag(self) -> None:
        """Counts by how much the event loop is late, ten times a second, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LOOK_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)
            late = max(0.0, loop.time() - due)
            with self._lock:
                self._lag.add(late)

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The samples of a scrape."""
        yield GaugeMetricFamily(
            "gatehouse_ready", "1 when work should be sent here, else 0", value=float(not self._unready())
        )
        yield GaugeMetricFamily(
            "gatehouse_healthy", "0 when only a restart helps, else 1", value=float(not self._unhealthy())
        )
        with self._lock:
            stages = dict(self._start_seconds)
            buckets, total = self._lag.buckets(), self._lag.total
        start = GaugeMetricFamily(
            "gatehouse_start_stage_seconds", "Duration of a stage of the start", labels=["stage"]
        )
        for name, seconds in stages.items():
            start.add_metric([name], seconds)
        yield start
        lag = HistogramMetricFamily(
            "gatehouse_event_loop_lag_seconds",
            "By how much the event loop was late, looked at ten times a second",
        )
        lag.add_metric([], buckets=buckets, sum_value=total)
        yield lag
        if self._started_at is not None:
            yield GaugeMetricFamily(
                "gatehouse_serving_since_timestamp_seconds",
                "When the server began to serve, Unix time",
                value=self._started_at,
            )
        if self._capacity is not None:
            yield from _capacity_families(self._capacity)


def _capacity_families(capacity: Capacity) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "gatehouse_queue_capacity",
        "Operations of each lane that may be unanswered before more are refused",
        value=capacity.queue,
    )
    sessions = GaugeMetricFamily(
        "gatehouse_sessions_capacity",
        "Sessions there is room for: in the state table (live), in memory (host), in all (total)",
        labels=["tier"],
    )
    sessions.add_metric(["live"], capacity.live_sessions)
    sessions.add_metric(["host"], capacity.resident_sessions)
    sessions.add_metric(["total"], capacity.sessions)
    yield sessions
    used = GaugeMetricFamily(
        "gatehouse_state_slots_used", "Rows of the state table in use", labels=["model", "version"]
    )
    room = GaugeMetricFamily(
        "gatehouse_state_slots_capacity", "Rows of the state table", labels=["model", "version"]
    )
    for key, (in_use, rows) in capacity.rows().items():
        name, _, version = key.partition("@")
        used.add_metric([name, version], in_use)
        room.add_metric([name, version], rows)
    yield from (used, room)
    memory = GaugeMetricFamily(
        "gatehouse_device_memory_bytes",
        "Memory of the GPU: allocated by this process, free and total on the device",
        labels=["kind"],
    )
    for kind, amount in capacity.device_memory().items():
        memory.add_metric([kind], amount)
    yield memory
