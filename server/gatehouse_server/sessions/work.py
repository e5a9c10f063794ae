"""One operation's way through the engine: its deadline, its jobs and its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gatehouse_server.engine.job import Job, Wants
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import DeadlineExpired
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.results import SessionState, Timing
from gatehouse_server.sessions.session import AcceptedWrite, Session
from gatehouse_server.sessions.tape import Inputs
from gatehouse_server.sessions.views import state_of


class Work:
    """Makes the jobs of one operation and adds up their times. `finished` is called when a job is done."""

    __slots__ = ("_clock", "_deadline_seconds", "_finished", "_jobs", "_submit", "ticket")

    def __init__(
        self,
        ticket: Ticket,
        finished: Callable[[Job, Exception | None], None],
        clock: Callable[[], float],
    ) -> None:
        self.ticket = ticket
        self._finished = finished
        self._clock = clock
        self._jobs: list[Job] = []
        self._submit: Callable[[Job], None] | None = None
        self._deadline_seconds = ticket.deadline_seconds

    def runs_on(self, session: Session) -> None:
        """Which model's engine computes the jobs."""
        self._submit = session.model.engine.submit

    def computes_on(self, model: HostedModel) -> None:
        """As `runs_on`, without a session."""
        self._submit = model.engine.submit

    def begin(self) -> None:
        """The operation is about to change something. Raises DeadlineExpired when its time is up."""
        if self._deadline_seconds is not None and self._deadline_seconds <= self._clock():
            raise DeadlineExpired

    def answer_at_any_time(self) -> None:
        """The operation was applied before: saying that its time is up would say that it was not."""
        self._deadline_seconds = None

    @property
    def computed_steps(self) -> int:
        """Steps computed so far."""
        return sum(job.consumed for job in self._jobs)

    def job(self, inputs: Inputs, source_row: int, target_row: int, wants: Wants) -> Job:
        """Hands a job of this operation to the engine; the operation yields it, to be resumed when it is done.

        Only the first one can run out of time: an operation that began is finished.
        """
        assert self._submit is not None, "an operation finds its session before it computes"
        if self._jobs:
            received_seconds, deadline_seconds = self._clock(), None
        else:
            received_seconds, deadline_seconds = self.ticket.received_seconds, self._deadline_seconds
        job = Job(
            inputs,
            source_row,
            target_row,
            wants,
            self._finished,
            received_seconds,
            deadline_seconds,
            self.ticket.client,
        )
        self._jobs.append(job)
        self._submit(job)
        return job

    def timing(self) -> Timing:
        """Waiting until the first job began, and computing until the last one ended."""
        received_seconds = self.ticket.received_seconds
        began_seconds = self._jobs[0].started_seconds if self._jobs else None
        if began_seconds is None:
            return Timing(self._clock() - received_seconds, 0.0)
        return Timing(began_seconds - received_seconds, self._jobs[-1].ended_seconds - began_seconds)

    def state(self, session: Session, repeated: AcceptedWrite | None = None) -> SessionState:
        """Where the session stands; for a repeated write, where it stood after that write."""
        state = state_of(session, expires_in_seconds=session.model.limits.idle_seconds)
        if repeated is None:
            return state
        return replace(state, revision=repeated.revision, position=repeated.position)
