"""One operation's way through the engine: its deadline, its jobs and its time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.job import Job, Wants
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.sessions.results import SessionState, Timing
from gatehouse_server.sessions.session import AcceptedWrite, Session


class Work:
    """Makes the jobs of one operation and adds up their times. `finished` is called when a job is done."""

    def __init__(
        self,
        ticket: Ticket,
        *,
        finished: Callable[[Job, Exception | None], None],
        clock: Callable[[], float],
    ) -> None:
        self.ticket = ticket
        self._finished = finished
        self._clock = clock
        self._jobs: list[Job] = []

    @property
    def computed_steps(self) -> int:
        """Steps computed so far."""
        return sum(job.consumed for job in self._jobs)

    def job(
        self,
        *,
        inputs: npt.NDArray[np.int64] | npt.NDArray[np.float32],
        source_row: int,
        target_row: int,
        wants: Wants,
    ) -> Job:
        """A job of this operation. Only the first one can run out of time: an operation that began is finished."""
        job = Job(
            inputs=inputs,
            source_row=source_row,
            target_row=target_row,
            wants=wants,
            finished=self._finished,
            received_seconds=self.ticket.received_seconds if not self._jobs else self._clock(),
            deadline_seconds=None if self._jobs else self.ticket.deadline_seconds,
        )
        self._jobs.append(job)
        return job

    def timing(self) -> Timing:
        """Waiting until the first job began, and computing until the last one ended."""
        began = self._jobs[0].started_seconds if self._jobs else None
        if began is None:
            return Timing(queue_seconds=self._clock() - self.ticket.received_seconds, compute_seconds=0.0)
        return Timing(
            queue_seconds=began - self.ticket.received_seconds,
            compute_seconds=self._jobs[-1].ended_seconds - began,
        )

    def state(self, session: Session, repeated: AcceptedWrite | None = None) -> SessionState:
        """Where the session stands; for a repeated write, where it stood after that write."""
        return SessionState(
            incarnation=session.incarnation,
            revision=session.revision if repeated is None else repeated.revision,
            position=session.position if repeated is None else repeated.position,
            oldest_restorable_position=session.oldest_restorable_position,
            durable_revision=0,
            expires_in_seconds=session.model.limits.idle_seconds,
        )
