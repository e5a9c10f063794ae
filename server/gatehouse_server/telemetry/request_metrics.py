"""Calls and the operations in them, as clients see them: how many, with which code, how long."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gatehouse_server.telemetry.bins import OFFLINE_SECONDS, ONLINE_SECONDS, Bins

Operation = Literal["write", "suggest", "session", "document"]
Finished = tuple[Operation, str, float]
"""One answered operation: its kind, the name of its code, and the seconds from arrival to answer."""

_OPERATION_EDGES: dict[Operation, tuple[float, ...]] = {
    "write": ONLINE_SECONDS,
    "suggest": ONLINE_SECONDS,
    "session": ONLINE_SECONDS,
    "document": OFFLINE_SECONDS,
}


class RequestMetrics(Collector):
    """Counts calls by method and code, and operations by kind and code. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str], int] = {}
        self._request_seconds: dict[str, Bins] = {}
        self._operations: dict[tuple[Operation, str], int] = {}
        self._result_seconds = {kind: Bins(edges) for kind, edges in _OPERATION_EDGES.items()}

    def request(self, method: str, code: str, seconds: float) -> None:
        """A call ended. A stream's duration is that of the whole stream."""
        with self._lock:
            self._requests[method, code] = self._requests.get((method, code), 0) + 1
            bins = self._request_seconds.get(method)
            if bins is None:
                bins = self._request_seconds[method] = Bins(ONLINE_SECONDS)
            bins.add(seconds)

    def operations(self, finished: Sequence[Finished]) -> None:
        """Operations were answered, each alone or as part of a stream."""
        for kind, code, seconds in finished:
            self.answered(kind, code, (seconds,))

    def answered(self, kind: Operation, code: str, seconds: Sequence[float]) -> None:
        """Operations of one kind were answered with one code, this many seconds after they arrived."""
        with self._lock:
            self._operations[kind, code] = self._operations.get((kind, code), 0) + len(seconds)
            self._result_seconds[kind].add_all(seconds)

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The samples of a scrape."""
        requests = CounterMetricFamily("gatehouse_requests", "Calls that ended", labels=["method", "code"])
        request_seconds = HistogramMetricFamily(
            "gatehouse_request_seconds", "Duration of calls; of a stream as a whole", labels=["method"]
        )
        operations = CounterMetricFamily(
            "gatehouse_operations", "Operations answered, alone or in a stream", labels=["operation", "code"]
        )
        result_seconds = HistogramMetricFamily(
            "gatehouse_result_seconds", "From an operation's arrival to its answer", labels=["operation"]
        )
        with self._lock:
            for (method, code), count in self._requests.items():
                requests.add_metric([method, code], count)
            for method, bins in self._request_seconds.items():
                request_seconds.add_metric([method], buckets=bins.buckets(), sum_value=bins.total)
            for (kind, code), count in self._operations.items():
                operations.add_metric([kind, code], count)
            for kind, bins in self._result_seconds.items():
                result_seconds.add_metric([kind], buckets=bins.buckets(), sum_value=bins.total)
        yield from (requests, request_seconds, operations, result_seconds)
