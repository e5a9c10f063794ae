"""The engine's statistics as Prometheus series: added up as they come, made into samples at a scrape."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gatehouse_server.engine.observer import EngineGauges, Happening, OfflineBatch, OnlineTick
from gatehouse_server.telemetry.bins import BATCH_SIZES, OFFLINE_SECONDS, ONLINE_SECONDS, Bins
from gatehouse_server.telemetry.engine_gauges import gauge_families, name_and_version

_SESSIONS: Mapping[Happening, str] = {
    Happening.SESSION_CREATED: "created",
    Happening.SESSION_DELETED: "deleted",
    Happening.SESSION_EXPIRED: "expired",
    Happening.SESSION_REBUILT: "rebuilt",
    Happening.SESSION_FORKED: "forked",
    Happening.SESSION_IMPORTED: "imported",
    Happening.SESSION_EVICTED: "evicted",
    Happening.SESSION_RESTED: "rested",
    Happening.SESSION_WOKEN: "woken",
    Happening.SESSION_RECOVERED: "recovered",
    Happening.SESSION_MOVED: "moved",
}
_WRITES: Mapping[Happening, str] = {
    Happening.WRITE_REPEATED: "repeated",
    Happening.WRITE_CONFLICTED: "conflicted",
    Happening.WRITE_BEHIND: "behind",
    Happening.REWOUND: "rewound",
}
_DROPPED: Mapping[Happening, str] = {
    Happening.DROPPED_DEADLINE: "deadline",
    Happening.DROPPED_CANCELLED: "cancelled",
    Happening.DROPPED_DRAINING: "draining",
}
_REFUSED: Mapping[Happening, str] = {
    Happening.REFUSED_QUEUE_FULL: "queue_full",
    Happening.REFUSED_SESSIONS_FULL: "sessions_full",
    Happening.REFUSED_CONTINUATIONS_FULL: "continuations_full",
    Happening.REFUSED_STORE_LAGGING: "store_lagging",
}
_CONTINUATIONS: Mapping[Happening, str] = {
    Happening.CONTINUATION_STOPPED: "stop",
    Happening.CONTINUATION_AT_LENGTH: "length",
    Happening.CONTINUATION_CUT_SHORT: "cut_short",
}

_ONLINE_HISTOGRAMS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "queue_seconds": ("Wait of an operation before the tick that began it", ONLINE_SECONDS),
    "form_seconds": ("Forming the batch of a tick", ONLINE_SECONDS),
    "compute_seconds": ("Computing a tick", ONLINE_SECONDS),
    "publish_seconds": ("Handing out the results of a tick", ONLINE_SECONDS),
    "batch_sessions": ("Sessions that took part in a tick", BATCH_SIZES),
}
_OFFLINE_HISTOGRAMS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "queue_seconds": ("Wait of a document before its batch began", OFFLINE_SECONDS),
    "form_seconds": ("Forming a batch of documents", OFFLINE_SECONDS),
    "compute_seconds": ("Computing a batch of documents", OFFLINE_SECONDS),
    "batch_documents": ("Documents in a batch", BATCH_SIZES),
}


_STORE_CALLS = ("apply", "claim", "look", "remove", "list", "expire", "scrub", "count", "probe", "wait")


class _ModelStatistics:
    """What one model did in one lane."""

    __slots__ = ("counts", "histograms")

    def __init__(
        self, histograms: Mapping[str, tuple[str, tuple[float, ...]]], counts: Iterable[str]
    ) -> None:
        self.histograms = {name: Bins(edges) for name, (_, edges) in histograms.items()}
        self.counts = dict.fromkeys(counts, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTotals:
    """What was done since the start, by models that are gone, too."""

    steps: int = 0
    ticks: int = 0
    tick_sessions: float = 0.0
    documents: int = 0
    batches: int = 0

    def plus(self, online: Iterable[_ModelStatistics], offline: Iterable[_ModelStatistics]) -> EngineTotals:
        """With what some models did."""
        online, offline = list(online), list(offline)
        sessions = [each.histograms["batch_sessions"] for each in online]
        return EngineTotals(
            steps=self.steps + sum(each.counts["steps"] for each in online),
            ticks=self.ticks + sum(bins.count for bins in sessions),
            tick_sessions=self.tick_sessions + sum(bins.total for bins in sessions),
            documents=self.documents + sum(each.counts["documents"] for each in offline),
            batches=self.batches + sum(each.histograms["batch_documents"].count for each in offline),
        )


class EngineMetrics(Collector):
    """Listens to the engine (see `engine.observer.Observer`) and answers scrapes.

    `queue_depth` tells how many operations of each lane are submitted and unanswered; it is asked at a scrape.
    """

    def __init__(
        self, queue_depth: Callable[[], Mapping[str, int]] = dict, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.queue_depth = queue_depth
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._happened = dict.fromkeys(Happening, 0)
        self._online: dict[str, _ModelStatistics] = {}
        self._offline: dict[str, _ModelStatistics] = {}
        self._gone = EngineTotals()
        self._store_seconds = {kind: Bins(ONLINE_SECONDS) for kind in _STORE_CALLS}
        self._store_failures = dict.fromkeys(_STORE_CALLS, 0)
        self._stored_at: float | None = None
        self._gauges: EngineGauges | None = None

    def happened(self, what: Happening, amount: int = 1) -> None:
        """Something countable happened. From any thread."""
        with self._lock:
            self._happened[what] += amount

    def online_tick(self, tick: OnlineTick) -> None:
        """A tick is over."""
        with self._lock:
            statistics = self._online.get(tick.model)
            if statistics is None:
                statistics = self._online[tick.model] = _ModelStatistics(
                    _ONLINE_HISTOGRAMS, ("steps", "outputs")
                )
            bins = statistics.histograms
            bins["queue_seconds"].add_all(tick.queue_seconds)
            bins["form_seconds"].add(tick.form_seconds)
            bins["compute_seconds"].add(tick.compute_seconds)
            bins["publish_seconds"].add(tick.publish_seconds)
            bins["batch_sessions"].add(tick.sessions)
            statistics.counts["steps"] += tick.steps
            statistics.counts["outputs"] += tick.outputs

    def offline_batch(self, batch: OfflineBatch) -> None:
        """A batch of documents is over."""
        with self._lock:
            statistics = self._offline.get(batch.model)
            if statistics is None:
                statistics = self._offline[batch.model] = _ModelStatistics(
                    _OFFLINE_HISTOGRAMS, ("documents", "steps", "computed_steps")
                )
            bins = statistics.histograms
            bins["queue_seconds"].add_all(batch.queue_seconds)
            bins["form_seconds"].add(batch.form_seconds)
            bins["compute_seconds"].add(batch.compute_seconds)
            bins["batch_documents"].add(batch.documents)
            statistics.counts["documents"] += batch.documents
            statistics.counts["steps"] += batch.steps
            statistics.counts["computed_steps"] += batch.computed_steps

    def store_call(self, kind: str, seconds: float, failed: bool) -> None:
        """The state store did something, or failed to."""
        with self._lock:
            self._store_seconds[kind].add(seconds)
            self._store_failures[kind] += failed
            if kind == "apply" and not failed:
                self._stored_at = self._wall_clock()

    def gauges(self, gauges: EngineGauges) -> None:
        """The present fill."""
        self._gauges = gauges

    @property
    def present(self) -> EngineGauges | None:
        """The present fill; None before the first turn."""
        return self._gauges

    def totals(self) -> EngineTotals:
        """What was done so far."""
        with self._lock:
            return self._gone.plus(self._online.values(), self._offline.values())

    def forget(self, model: str) -> None:
        """The model `name@version` is served no more: its series end."""
        with self._lock:
            gone = [[lane.pop(model)] if model in lane else [] for lane in (self._online, self._offline)]
            self._gone = self._gone.plus(*gone)

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: names are fixed, and the registry need not scrape to know them."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The samples of a scrape."""
        with self._lock:  # not while they are rendered: the engine waits for it at each tick
            families = [
                *self._happenings(),
                *self._online_families(),
                *self._offline_families(),
                *self._store_families(),
            ]
        yield from families
        yield from gauge_families(self._gauges, self.queue_depth())

    def _happenings(self) -> Iterator[Metric]:
        for name, help_text, label, kinds in (
            ("gatehouse_sessions", "Sessions by what happened to them", "event", _SESSIONS),
            (
                "gatehouse_writes",
                "Writes out of the ordinary: repeated, refused, or going back",
                "event",
                _WRITES,
            ),
            ("gatehouse_dropped", "Operations that nobody waits for any more", "reason", _DROPPED),
            (
                "gatehouse_refused",
                "Operations and sessions refused because something is full",
                "reason",
                _REFUSED,
            ),
            (
                "gatehouse_continuations",
                "Generated continuations by how they ended",
                "reason",
                _CONTINUATIONS,
            ),
        ):
            family = CounterMetricFamily(name, help_text, labels=[label])
            for happening, value in kinds.items():
                family.add_metric([value], self._happened[happening])
            yield family
        yield CounterMetricFamily(
            "gatehouse_generated_steps",
            "Steps of generated continuations",
            value=self._happened[Happening.STEP_GENERATED],
        )

    def _online_families(self) -> Iterator[Metric]:
        yield from _counters(
            "gatehouse_online",
            {"steps": "Steps consumed", "outputs": "Rows that went through the head"},
            self._online,
        )
        yield from _histograms("gatehouse_online", _ONLINE_HISTOGRAMS, self._online)

    def _offline_families(self) -> Iterator[Metric]:
        helps = {
            "documents": "Documents computed",
            "steps": "Steps of documents",
            "computed_steps": "Steps computed for documents, padding included",
        }
        yield from _counters("gatehouse_offline", helps, self._offline)
        yield from _histograms("gatehouse_offline", _OFFLINE_HISTOGRAMS, self._offline)

    def _store_families(self) -> Iterator[Metric]:
        seconds = HistogramMetricFamily(
            "gatehouse_store_seconds", "Time that the state store took for a request", labels=["call"]
        )
        failures = CounterMetricFamily(
            "gatehouse_store_failures", "Requests that the state store failed", labels=["call"]
        )
        for kind, bins in self._store_seconds.items():
            seconds.add_metric([kind], buckets=bins.buckets(), sum_value=bins.total)
            failures.add_metric([kind], self._store_failures[kind])
        yield from (seconds, failures)
        stored = GaugeMetricFamily(
            "gatehouse_store_success_timestamp_seconds",
            "When the state store last took changes, Unix time; absent until then",
        )
        if self._stored_at is not None:
            stored.add_metric([], self._stored_at)
        yield stored


def _counters(
    prefix: str, helps: Mapping[str, str], models: Mapping[str, _ModelStatistics]
) -> Iterator[Metric]:
    for name, help_text in helps.items():
        family = CounterMetricFamily(f"{prefix}_{name}", help_text, labels=["model", "version"])
        for key, statistics in models.items():
            family.add_metric(name_and_version(key), statistics.counts[name])
        yield family


def _histograms(
    prefix: str, kinds: Mapping[str, tuple[str, tuple[float, ...]]], models: Mapping[str, _ModelStatistics]
) -> Iterator[Metric]:
    for name, (help_text, _) in kinds.items():
        family = HistogramMetricFamily(f"{prefix}_{name}", help_text, labels=["model", "version"])
        for key, statistics in models.items():
            bins = statistics.histograms[name]
            family.add_metric(name_and_version(key), buckets=bins.buckets(), sum_value=bins.total)
        yield family
