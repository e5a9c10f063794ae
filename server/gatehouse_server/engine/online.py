"""The online engine of one model: a queue of jobs, run tick by tick."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gatehouse_server.engine.assembly import Chosen, assemble, distribute
from gatehouse_server.engine.failure_log import FailureLog
from gatehouse_server.engine.job import Job
from gatehouse_server.engine.observer import Observer, OnlineTick
from gatehouse_server.engine.online_backend import Floats, OnlineBackend
from gatehouse_server.engine.policy import OnlineBatching, TickQueue
from gatehouse_server.errors import DeadlineExpired, InvalidInput


class OnlineEngine:
    """Schedules, runs and publishes the jobs of one model. All calls come from the engine thread."""

    def __init__(
        self,
        *,
        model: str,
        backend: OnlineBackend,
        batching: OnlineBatching,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._model = model
        self._backend = backend
        self._observer = observer
        self._clock = clock
        self._queue: TickQueue[Job] = TickQueue(batching)
        self._failures = FailureLog("ticks", model, clock)

    @property
    def bytes_per_row(self) -> int:
        """Size of one state in bytes."""
        return self._backend.bytes_per_row

    @property
    def queued(self) -> int:
        """Jobs that wait for a tick."""
        return len(self._queue)

    def read_states(self, rows: Sequence[int]) -> Floats:
        """The states of rows, (B, S) float32."""
        return self._backend.read_states(np.array(rows, dtype=np.int64))

    def write_states(self, rows: Sequence[int], states: Floats) -> None:
        """Puts states (B, S) into rows."""
        self._backend.write_states(np.array(rows, dtype=np.int64), states)

    def submit(self, job: Job) -> None:
        """Queues a job for the next tick."""
        self._queue.append(job)

    def tick(self) -> None:
        """Schedules, runs and publishes one batch of what waits now."""
        began = self._clock()
        selection = self._queue.take(began)
        for job in selection.expired:
            job.finished(job, DeadlineExpired())
        if selection.chosen:
            self._run(selection.chosen, began)

    def _run(self, chosen: Chosen, began: float) -> None:
        queue_seconds = []
        for job, _ in chosen:
            if job.started_seconds is None:
                job.started_seconds = began
                queue_seconds.append(began - job.received_seconds)
        try:
            assembled = assemble(chosen)
            formed = self._clock()
            answer = self._backend.run(assembled.batch)
            computed = self._clock()
            if answer.head is not None or answer.hidden is not None:
                distribute(assembled, answer.head, answer.hidden)
        except Exception as failure:
            # Source rows are untouched, so every session stands where it stood; only this tick's jobs are lost.
            self._failures.failed(failure, operations=len(chosen))
            for job, _ in chosen:
                job.finished(job, failure)
            return
        self._failures.worked()
        finite = answer.finite.tolist()
        finite += [True] * (len(chosen) - len(finite))  # states that are only looked at stay as they are
        for (job, steps), is_finite in zip(chosen, finite, strict=True):
            job.advance(steps, computed)
            if not is_finite:
                job.finished(job, _not_finite())
            elif job.remaining:
                self._queue.append(job)
            else:
                job.finished(job, None)
        self._queue.ran(self._clock() - began, len(assembled.batch.inputs))
        self._observer.online_tick(
            OnlineTick(
                model=self._model,
                sessions=len(chosen),
                steps=len(assembled.batch.inputs),
                outputs=0 if assembled.batch.head is None else len(assembled.batch.head.rows),
                form_seconds=formed - began,
                compute_seconds=computed - formed,
                publish_seconds=self._clock() - computed,
                queue_seconds=queue_seconds,
            )
        )


def _not_finite() -> InvalidInput:
    return InvalidInput(
        "the state would become infinite or not a number; nothing was applied. Scale the inputs down",
        reason="STATE_NOT_FINITE",
    )
