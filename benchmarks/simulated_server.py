"""The engine's turns on a virtual clock: real jobs, the real choice of who goes into a tick, no computing.

A turn takes everything that has arrived, as `engine.loop` does, has `engine.policy` choose, and moves the clock
on by what such a tick takes. Jobs with steps left go to the end of the queue before the next turn takes what came
meanwhile, as in `engine.online`; operations of one session wait for each other, as in `sessions.lane`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gatehouse_server.engine.job import NOTHING, Job, Wants
from gatehouse_server.engine.policy import OnlineBatching, TickQueue

from benchmarks.typists import Presses

BEST = Wants(k=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a tick takes, seconds: see `benchmarks.service_times`."""

    turn_seconds: float
    job_seconds: float
    step_seconds: float
    pass_seconds: float

    def of(self, chosen: Sequence[tuple[Job, int]]) -> float:
        """The whole tick; its longest job stands first."""
        return (
            self.turn_seconds
            + self.job_seconds * len(chosen)
            + self.step_seconds * sum(steps for _, steps in chosen)
            + self.pass_seconds * chosen[0][1]
        )


class Session:
    """A session as far as turns are concerned: whether an operation of it is under way, and which ones wait."""

    __slots__ = ("number", "under_way", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.under_way = False
        self.waiting: deque[tuple[float, int]] | None = None


@dataclass(slots=True, kw_only=True)
class Played:
    """What happened. Waits and answers are of the crowd's operations, seconds since their arrival."""

    waits: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    ticks: int = 0
    jobs: int = 0
    busy_seconds: float = 0.0
    ended_seconds: float = 0.0
    most_tick_seconds: float = 0.0
    deciding_ns: int = 0
    most_deciding_ns: int = 0
    flood_writes: int = 0

    def decided(self, nanoseconds: int) -> None:
        """A choice took so much processor time."""
        self.deciding_ns += nanoseconds
        self.most_deciding_ns = max(self.most_deciding_ns, nanoseconds)

    def ticked(self, jobs: int, seconds: float) -> None:
        """A tick of so many jobs took so long."""
        self.ticks += 1
        self.jobs += jobs
        self.busy_seconds += seconds
        self.most_tick_seconds = max(self.most_tick_seconds, seconds)


class SimulatedServer:
    """One process with one model. `crowd` sessions exist for as long as it does, whether they are used or not."""

    def __init__(self, crowd: int, *, service: Service, batching: OnlineBatching) -> None:
        self._sessions = [Session(number) for number in range(crowd)]
        self._service = service
        self._batching = batching
        self._queue: TickQueue[Job] = TickQueue(batching)
        self._owners: dict[int, Session] = {}
        self._inputs = np.zeros(4096, dtype=np.int64)

    def play(self, presses: Presses, *, flood_sessions: int = 0, flood_steps: int = 4096) -> Played:
        """Serves the presses; `flood_sessions` others write `flood_steps` again as soon as they have an answer."""
        played = Played()
        times, people, steps = presses.seconds.tolist(), presses.person.tolist(), presses.steps.tolist()
        now, arrived, count = 0.0, 0, len(times)
        for number in range(flood_sessions):
            self._begin(Session(-1 - number), now, flood_steps)
        while arrived < count or len(self._owners) > flood_sessions:
            if not len(self._queue):
                now = max(now, times[arrived])
            while arrived < count and times[arrived] <= now:
                session = self._sessions[people[arrived]]
                if not session.under_way:
                    self._begin(session, times[arrived], steps[arrived])
                elif session.waiting is None:
                    session.waiting = deque([(times[arrived], steps[arrived])])
                else:
                    session.waiting.append((times[arrived], steps[arrived]))
                arrived += 1
            now, free = self._tick(now, played)
            for session in free:
                if session.number < 0:
                    self._begin(session, now, flood_steps)
                elif session.waiting:
                    self._begin(session, *session.waiting.popleft())
        played.ended_seconds = now
        self._queue = TickQueue(self._batching)
        self._owners.clear()
        return played

    def _tick(self, now: float, played: Played) -> tuple[float, list[Session]]:
        """Runs a tick that begins now; when it ends, and whose operation is answered then."""
        began_ns = time.thread_time_ns()
        chosen = self._queue.take(now).chosen
        played.decided(time.thread_time_ns() - began_ns)
        seconds = self._service.of(chosen)
        played.ticked(len(chosen), seconds)
        self._queue.ran(seconds, sum(steps for _, steps in chosen))
        free = []
        for job, steps in chosen:
            session = self._owners[id(job)]
            if job.started_seconds is None:
                job.started_seconds = now
                if session.number >= 0:
                    played.waits.append(now - job.received_seconds)
            job.advance(steps, now + seconds)
            if job.remaining:
                self._queue.append(job)
                continue
            del self._owners[id(job)]
            session.under_way = False
            free.append(session)
            if session.number >= 0:
                played.answers.append(now + seconds - job.received_seconds)
            else:
                played.flood_writes += 1
        return now + seconds, free

    def _begin(self, session: Session, received: float, steps: int) -> None:
        job = Job(
            inputs=self._inputs[:steps],
            source_row=0,
            target_row=0,
            wants=BEST if session.number >= 0 else NOTHING,
            finished=_never,
            received_seconds=received,
            client="crowd" if session.number >= 0 else "flood",
        )
        session.under_way = True
        self._owners[id(job)] = session
        self._queue.append(job)


def _never(*_: Any) -> None:
    raise AssertionError("the simulated server finishes its jobs itself")
