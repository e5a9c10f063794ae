"""What happened in the last seconds: differences of what the metrics have added up, looked at once a second."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gatehouse_server.telemetry.engine_metrics import EngineMetrics, EngineTotals
from gatehouse_server.telemetry.request_metrics import OperationTotals, RequestMetrics

WINDOW_SECONDS = 10
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentOperations:
    """Answers of one kind a second, failures among them, and how long they took. `p50` and `p99` are guesses between
    the edges of a histogram.
    """

    operation: str
    per_second: float
    failed_per_second: float
    p50_seconds: float
    p99_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentActivity:
    """What happened in the last `window_seconds`; means are 0 where there was nothing."""

    window_seconds: float
    steps_per_second: float
    documents_per_second: float
    batch_sessions: float
    batch_documents: float
    operations: tuple[RecentOperations, ...]


@dataclass(frozen=True, slots=True)
class _Look:
    at_seconds: float
    engine: EngineTotals
    operations: Mapping[str, OperationTotals]


class Recent:
    """Looks by itself while `watch` runs."""

    def __init__(
        self,
        engine: EngineMetrics,
        requests: RequestMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._requests, self._clock = engine, requests, clock
        self._looks: deque[_Look] = deque(maxlen=round(WINDOW_SECONDS / _LOOK_SECONDS) + 1)

    async def watch(self) -> None:
        """Looks once a second, until it is cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    def look(self) -> None:
        """Remembers how far everything is now."""
        self._looks.append(self._now())

    def activity(self) -> RecentActivity:
        """From the oldest look that is remembered until now."""
        now = self._now()
        then = self._looks[0] if self._looks else now
        seconds = now.at_seconds - then.at_seconds
        engine, before = now.engine, then.engine
        operations = []
        for operation, totals in now.operations.items():
            past = then.operations.get(operation)
            counts = [
                count - (past.counts[index] if past else 0) for index, count in enumerate(totals.counts)
            ]
            answered = sum(counts)
            if answered <= 0:
                continue
            operations.append(
                RecentOperations(
                    operation=operation,
                    per_second=_per(answered, seconds),
                    failed_per_second=_per(totals.failed - (past.failed if past else 0), seconds),
                    p50_seconds=quantile(0.5, totals.edges, counts),
                    p99_seconds=quantile(0.99, totals.edges, counts),
                )
            )
        return RecentActivity(
            window_seconds=seconds,
            steps_per_second=_per(engine.steps - before.steps, seconds),
            documents_per_second=_per(engine.documents - before.documents, seconds),
            batch_sessions=_per(engine.tick_sessions - before.tick_sessions, engine.ticks - before.ticks),
            batch_documents=_per(engine.documents - before.documents, engine.batches - before.batches),
            operations=tuple(operations),
        )

    def _now(self) -> _Look:
        return _Look(self._clock(), self._engine.totals(), self._requests.totals())


def quantile(share: float, edges: Sequence[float], counts: Sequence[int]) -> float:
    """Where `share` of the values lie below, as Prometheus guesses it: evenly spread between two edges. The last of the
    counts is of values beyond the last edge, of which no more is known than that.
    """
    rank, below, lower = share * sum(counts), 0, 0.0
    for edge, count in zip(edges, counts, strict=False):
        if below + count >= rank and count:
            return lower + (edge - lower) * (rank - below) / count
        below, lower = below + count, edge
    return lower


def _per(amount: float, of: float) -> float:
    return max(0.0, amount) / of if of > 0 else 0.0
