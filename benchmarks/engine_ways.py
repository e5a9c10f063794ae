"""The engine in process, driven in two ways: at its backend, and from its queue."""

from __future__ import annotations

import time

import numpy as np
from gatehouse_server.engine.job import Job, Wants
from gatehouse_server.engine.observer import SilentObserver
from gatehouse_server.engine.online import OnlineEngine
from gatehouse_server.engine.online_backend import HeadRequest, OnlineBatch
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.network.network import Network

K = 5
NONE = np.empty(0, dtype=np.int64)
ROWS_PER_SESSION = 2
"""A session's states move between two rows."""


def begin_anew(backend: TorchOnlineBackend, rows: np.ndarray) -> None:
    """Zeros in rows of the table."""
    backend.write_states(rows, np.zeros((len(rows), backend.bytes_per_row // 4), dtype=np.float32))


class Ticks:
    """Batches handed to a backend, from `first_row` of its table on."""

    def __init__(self, backend: TorchOnlineBackend, ids: np.ndarray, first_row: int = 1) -> None:
        self._backend = backend
        count = len(ids)
        rows = np.arange(first_row, first_row + count, dtype=np.int64)
        begin_anew(backend, rows)
        self._batches = [
            OnlineBatch(
                inputs=ids,
                batch_sizes=(count,),
                source_rows=source,
                target_rows=target,
                peeked_rows=NONE,
                head=HeadRequest(
                    rows=np.arange(count, 2 * count),
                    ks=np.full(count, K),
                    suppressed=None,
                    score_rows=NONE,
                    score_tokens=NONE,
                    vector_rows=NONE,
                    restricted=(),
                ),
            )
            for source, target in ((rows, rows + count), (rows + count, rows))
        ]

    def tick(self) -> np.ndarray:
        """The best log-probabilities, (B, k)."""
        batch, other = self._batches
        self._batches = [other, batch]
        head = self._backend.run(batch).head
        assert head is not None, "outputs were asked for"
        return head.best_values


class Jobs:
    """B sessions that hand in their next step for each tick."""

    def __init__(
        self,
        network: Network,
        ids: np.ndarray,
        backend: TorchOnlineBackend | None = None,
        first_row: int = 1,
    ) -> None:
        """On a backend of its own, or on one with room for two rows a session from `first_row` on."""
        count = len(ids)
        if backend is None:
            backend = TorchOnlineBackend(network, capacity=ROWS_PER_SESSION * count, most_rows=count)
        begin_anew(backend, np.arange(first_row, first_row + count))
        self._engine = OnlineEngine(
            model="shape",
            backend=backend,
            # All of them in one tick, however long that takes.
            batching=OnlineBatching(max_sessions_per_tick=count, alone_seconds=60.0),
            observer=SilentObserver(),
            clock=time.monotonic,
        )
        self._rows = [(first_row + number, first_row + count + number) for number in range(count)]
        self._inputs = [ids[number : number + 1] for number in range(count)]
        self._wants = Wants(k=K)
        self._failures: list[Exception] = []
        self._done = 0

    def tick(self) -> list[Job]:
        """The jobs, done."""
        now = time.monotonic()
        jobs = [
            Job(
                inputs=step,
                source_row=source,
                target_row=target,
                wants=self._wants,
                finished=self._finished,
                received_seconds=now,
            )
            for step, (source, target) in zip(self._inputs, self._rows, strict=True)
        ]
        self._rows = [(target, source) for source, target in self._rows]
        for job in jobs:
            self._engine.submit(job)
        done = self._done
        self._engine.tick()
        if self._failures or self._done - done != len(jobs):
            raise RuntimeError(f"a tick failed: {self._failures}")
        return jobs

    def _finished(self, job: Job, failure: Exception | None) -> None:
        self._done += 1
        if failure is not None:
            self._failures.append(failure)
