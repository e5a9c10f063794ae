"""Calls and the operations in them, as clients see them: how many, with which code, how long."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from gatehouse_server.telemetry.bins import OFFLINE_SECONDS, ONLINE_SECONDS, Bins

Operation = Literal["write", "suggest", "generate", "session", "document"]
Finished = tuple[Operation, str, float]
"""One answered operation: its kind, the name of its code, and the seconds from arrival to answer."""

_OPERATION_EDGES: dict[Operation, tuple[float, ...]] = {
    "write": ONLINE_SECONDS,
    "suggest": ONLINE_SECONDS,
    "generate": OFFLINE_SECONDS,
    "session": ONLINE_SECONDS,
    "document": OFFLINE_SECONDS,
}
OWN_FAULTS = ("INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
"""Codes of failures that are not the caller's. Counted from zero: a counter that is born with its first failure shows
Prometheus no increase.
"""

Unreadable = Literal["unknown_method", "undecodable", "incomplete"]
"""Why a call had no request that could be looked at: there is no such method, its bytes are no message, or it ended
before they were there.
"""

_IN_PIECES: tuple[Operation, ...] = ("generate", "document")
"""What is answered piece by piece: the first piece counts by itself."""


@dataclass(frozen=True, slots=True)
class OperationTotals:
    """Answers of one kind since the start: by time (see `Bins.counts`), and how many were failures."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    failed: int


class _Stages:
    """Where the time of one kind of operations went, seconds together."""

    __slots__ = ("compute", "operations", "publish", "queue")

    def __init__(self) -> None:
        self.operations = 0
        self.queue = self.compute = self.publish = 0.0


_USERS = tuple(f"gatehouse.v1.{name}Service/" for name in ("Online", "Offline", "Model"))


class RequestMetrics(Collector):
    """Counts calls by method and code, and operations by kind and code. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str], int] = {}
        self._unreadable = dict.fromkeys(get_args(Unreadable), 0)
        self._in_flight: dict[str, int] = {}
        self._request_seconds: dict[str, Bins] = {}
        self._operations: dict[tuple[Operation, str], int] = {
            (kind, code): 0 for kind in _OPERATION_EDGES for code in ("OK", *OWN_FAULTS)
        }
        self._stages: dict[Operation, _Stages] = {}
        self._result_seconds = {kind: Bins(edges) for kind, edges in _OPERATION_EDGES.items()}
        self._first_seconds = {kind: Bins(OFFLINE_SECONDS) for kind in _IN_PIECES}

    def began(self, method: str) -> None:
        """A call began; `request` tells that it has ended."""
        with self._lock:
            self._in_flight[method] = self._in_flight.get(method, 0) + 1

    def request(self, method: str, code: str, seconds: float) -> None:
        """A call ended. A stream's duration is that of the whole stream."""
        with self._lock:
            self._in_flight[method] = self._in_flight.get(method, 0) - 1
            self._requests[method, code] = self._requests.get((method, code), 0) + 1
            bins = self._request_seconds.get(method)
            if bins is None:
                bins = self._request_seconds[method] = Bins(ONLINE_SECONDS)
            bins.add(seconds)

    def unreadable(self, reason: Unreadable) -> None:
        """A call had no request that could be looked at."""
        with self._lock:
            self._unreadable[reason] += 1

    def operations(self, finished: Sequence[Finished]) -> None:
        """Operations were answered, each alone or as part of a stream."""
        for kind, code, seconds in finished:
            self.answered(kind, code, (seconds,))

    def answered(
        self,
        kind: Operation,
        code: str,
        seconds: Sequence[float],
        stages: tuple[float, float] | None = None,
    ) -> None:
        """Operations of one kind were answered with one code, this many seconds after they arrived.

        `stages` tells how long they waited and were computed, all together; what is left of `seconds` is publishing.
        """
        with self._lock:
            self._operations[kind, code] = self._operations.get((kind, code), 0) + len(seconds)
            self._result_seconds[kind].add_all(seconds)
            if stages is not None:
                queue, compute = stages
                spent = self._stages.setdefault(kind, _Stages())
                spent.operations += len(seconds)
                spent.queue += queue
                spent.compute += compute
                spent.publish += sum(seconds) - queue - compute

    @property
    def in_flight(self) -> int:
        """Calls of users that are open."""
        with self._lock:
            return sum(count for method, count in self._in_flight.items() if method.startswith(_USERS))

    def totals(self) -> dict[str, OperationTotals]:
        """Answers so far, by kind."""
        with self._lock:
            failed: dict[str, int] = {}
            for (kind, code), count in self._operations.items():
                failed[kind] = failed.get(kind, 0) + (0 if code == "OK" else count)
            return {
                kind: OperationTotals(bins.edges, bins.counts, failed.get(kind, 0))
                for kind, bins in self._result_seconds.items()
            }

    def first_result(self, kind: Operation, seconds: float) -> None:
        """The first piece of a generation's answer left, or the first result of a stream of documents."""
        with self._lock:
            self._first_seconds[kind].add(seconds)

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The samples of a scrape."""
        requests = CounterMetricFamily("gatehouse_requests", "Calls that ended", labels=["method", "code"])
        unreadable = CounterMetricFamily(
            "gatehouse_unreadable_requests",
            "Calls without a request that can be looked at",
            labels=["reason"],
        )
        request_seconds = HistogramMetricFamily(
            "gatehouse_request_seconds", "Duration of calls; of a stream as a whole", labels=["method"]
        )
        operations = CounterMetricFamily(
            "gatehouse_operations", "Operations answered, alone or in a stream", labels=["operation", "code"]
        )
        result_seconds = HistogramMetricFamily(
            "gatehouse_result_seconds", "From an operation's arrival to its answer", labels=["operation"]
        )
        first_seconds = HistogramMetricFamily(
            "gatehouse_first_result_seconds",
            "From the arrival of a generation, or of a stream's first document, to the first result",
            labels=["operation"],
        )
        stages = SummaryMetricFamily(
            "gatehouse_stage_seconds",
            "Where the time from an operation's arrival to its answer went: the stages add up to it",
            labels=["operation", "stage"],
        )
        in_flight = GaugeMetricFamily(
            "gatehouse_requests_in_flight", "Calls that are open, streams among them", labels=["method"]
        )
        with self._lock:
            for method, count in self._in_flight.items():
                in_flight.add_metric([method], count)
            for (method, code), count in self._requests.items():
                requests.add_metric([method, code], count)
            for reason, count in self._unreadable.items():
                unreadable.add_metric([reason], count)
            for method, bins in self._request_seconds.items():
                request_seconds.add_metric([method], buckets=bins.buckets(), sum_value=bins.total)
            for (kind, code), count in self._operations.items():
                operations.add_metric([kind, code], count)
            for kind, spent in self._stages.items():
                for stage, total in (
                    ("queue", spent.queue),
                    ("compute", spent.compute),
                    ("publish", spent.publish),
                ):
                    stages.add_metric([kind, stage], count_value=spent.operations, sum_value=total)
            for kind, bins in self._first_seconds.items():
                first_seconds.add_metric([kind], buckets=bins.buckets(), sum_value=bins.total)
            for kind, bins in self._result_seconds.items():
                result_seconds.add_metric([kind], buckets=bins.buckets(), sum_value=bins.total)
        yield from (requests, unreadable, in_flight, request_seconds)
        yield from (operations, result_seconds, first_seconds, stages)
