"""Who goes into the next tick, and with how many steps. Pure: no torch, no clock of its own.

Jobs wait in flows: a client's short jobs are one, its long ones another. A tick takes from every flow in turn, so that
nobody waits behind another client's queue, nor behind long work of his own. While there is short work, all long work
together gets as much of a tick as the latency target allows; alone it has efficient ticks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineBatching:
    """Limits of one tick: at most `max_sessions_per_tick` jobs with at most `chunk_steps` steps
    each. Where that is one job, a tick takes a short and a long one.

    Jobs that read the output layer at each step share `output_steps` among them, with one step each at least.

    While there was short work within the last second, all long jobs together get as many steps as take
    `shared_seconds`. Otherwise, and short jobs of one client at any time, get as many as take `alone_seconds`. Neither
    limit is below `least_steps`.
    """

    max_sessions_per_tick: int = 256
    chunk_steps: int = 16
    output_steps: int = 512
    shared_seconds: float = 0.003
    alone_seconds: float = 0.05
    least_steps: int = 16

    def __post_init__(self) -> None:
        if min(self.max_sessions_per_tick, self.chunk_steps, self.output_steps, self.least_steps) < 1:
            raise ValueError("a tick takes at least one session and one step")


class Waiting(Protocol):
    """What the policy needs to know of a job. `client` tells whose it is."""

    @property
    def client(self) -> Hashable: ...

    @property
    def remaining(self) -> int: ...

    @property
    def consumed(self) -> int: ...

    @property
    def cancelled(self) -> bool: ...

    @property
    def reads_each_step(self) -> bool: ...

    @property
    def deadline_seconds(self) -> float | None: ...


J = TypeVar("J", bound=Waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection(Generic[J]):
    """Jobs of a tick with their step counts, longest first, and jobs whose time was up before they began."""

    chosen: Sequence[tuple[J, int]]
    expired: Sequence[J]


_REMEMBERED_SECONDS = 1.0
_FORGETTING = 0.1
_FIRST_STEP_SECONDS = 0.0001


class TickQueue(Generic[J]):
    """Jobs that wait for a tick. Used by the engine thread."""

    def __init__(self, batching: OnlineBatching) -> None:
        self._batching = batching
        self._short: dict[Hashable, deque[J]] = {}
        self._long: dict[Hashable, deque[J]] = {}
        self._waiting = 0
        self._step_seconds = _FIRST_STEP_SECONDS
        self._shared_until_seconds = -math.inf

    def __len__(self) -> int:
        return self._waiting

    def append(self, job: J) -> None:
        """Queues a job at the end of its flow. One that has begun and has steps left counts as long."""
        is_long = job.consumed > 0 or job.remaining > self._batching.chunk_steps
        flows = self._long if is_long else self._short
        waiting = flows.get(job.client)
        if waiting is None:
            flows[job.client] = deque((job,))
        else:
            waiting.append(job)
        self._waiting += 1

    def ran(self, seconds: float, steps: int) -> None:
        """A tick took so long, with so many steps. What a step costs is learned from ticks with several."""
        if steps >= self._batching.least_steps:
            self._step_seconds += _FORGETTING * (seconds / steps - self._step_seconds)

    def take(self, now_seconds: float) -> Selection[J]:
        """Takes the jobs of a tick.

        A job that gets fewer steps than it has left is to be queued again after the tick. A cancelled job is dropped.
        A job whose deadline passed before its first step is left out; one that has begun is finished.
        """
        batching = self._batching
        if self._short:
            self._shared_until_seconds = now_seconds + _REMEMBERED_SECONDS
        draw: _Draw[J] = _Draw(now_seconds, batching)
        most_jobs = batching.max_sessions_per_tick
        kept_free = 1 if self._long and most_jobs > 1 else 0  # so that long work always goes on
        most_steps = self._steps_in(batching.alone_seconds)
        for client, count in _fair_counts(self._short, most_jobs - kept_free):
            waiting = self._short.pop(client)
            draw.short(waiting, count, most_steps)
            if waiting:  # its turn is over: the next tick begins with another client
                self._short[client] = waiting
        is_shared = now_seconds <= self._shared_until_seconds
        long_seconds = batching.shared_seconds if is_shared else batching.alone_seconds
        self._take_long(draw, max(1, most_jobs - len(draw.chosen)), self._steps_in(long_seconds))
        self._waiting = sum(map(len, self._short.values())) + sum(map(len, self._long.values()))
        return draw.selection()

    def _take_long(self, draw: _Draw[J], room: int, allowed_steps: int) -> None:
        taken: list[J] = []
        for client, count in _fair_counts(self._long, min(room, allowed_steps)):
            waiting = self._long.pop(client)
            taken += draw.long(waiting, count)
            if waiting:
                self._long[client] = waiting
        if taken:
            chunk = min(self._batching.chunk_steps, max(1, allowed_steps // len(taken)))
            draw.chosen += [(job, min(job.remaining, chunk)) for job in taken]

    def _steps_in(self, seconds: float) -> int:
        return max(self._batching.least_steps, int(seconds / self._step_seconds))


class _Draw(Generic[J]):
    """What is being taken for one tick."""

    def __init__(self, now_seconds: float, batching: OnlineBatching) -> None:
        self._now_seconds = now_seconds
        self._batching = batching
        self.chosen: list[tuple[J, int]] = []
        self._expired: list[J] = []

    def short(self, waiting: deque[J], most_jobs: int, most_steps: int) -> None:
        """Jobs from the front that a tick can finish, until they have so many steps together."""
        chunk = self._batching.chunk_steps
        while waiting and most_jobs > 0 and most_steps > 0:
            job = waiting.popleft()
            if self._is_wanted(job):
                steps = min(job.remaining, chunk)
                self.chosen.append((job, steps))
                most_jobs -= 1
                most_steps -= steps or 1

    def long(self, waiting: deque[J], most_jobs: int) -> list[J]:
        """Jobs from the front that are still to be computed."""
        taken: list[J] = []
        while waiting and len(taken) < most_jobs:
            job = waiting.popleft()
            if self._is_wanted(job):
                taken.append(job)
        return taken

    def _is_wanted(self, job: J) -> bool:
        if job.cancelled:
            return False
        if job.deadline_seconds is None or job.deadline_seconds > self._now_seconds or job.consumed:
            return True
        self._expired.append(job)
        return False

    def selection(self) -> Selection[J]:
        """The tick, its readers' chunks cut to what they may read together, longest first."""
        readers = sum(job.reads_each_step for job, _ in self.chosen)
        if readers:
            most = max(1, self._batching.output_steps // readers)
            self.chosen = [
                (job, min(steps, most) if job.reads_each_step else steps) for job, steps in self.chosen
            ]
        self.chosen.sort(key=_minus_steps)
        return Selection(chosen=self.chosen, expired=self._expired)


def _minus_steps(entry: tuple[object, int]) -> int:
    return -entry[1]


def _fair_counts(flows: dict[Hashable, deque[J]], room: int) -> list[tuple[Hashable, int]]:
    """How many jobs of each flow there is room for, equally many where not all fit; the first flows have the rest."""
    if len(flows) == 1:
        return [(client, min(len(waiting), room)) for client, waiting in flows.items()]
    if sum(map(len, flows.values())) <= room:
        return [(client, len(waiting)) for client, waiting in flows.items()]
    counts = dict.fromkeys(flows, 0)
    wanting = list(flows)
    while room > 0 and wanting:
        each = max(1, room // len(wanting))
        for client in wanting:
            more = min(each, len(flows[client]) - counts[client], room)
            counts[client] += more
            room -= more
        wanting = [client for client in wanting if counts[client] < len(flows[client])]
    return [(client, count) for client, count in counts.items() if count]
