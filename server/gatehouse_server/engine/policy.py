"""Who goes into the next tick, and with how many steps. Pure: no torch, no clock of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineBatching:
    """Limits of one tick: at most `max_sessions_per_tick` jobs with at most `chunk_steps` steps each.

    Jobs that read the output layer at each step share `output_steps` among them, with one step each at least.
    """

    max_sessions_per_tick: int = 256
    chunk_steps: int = 16
    output_steps: int = 512

    def __post_init__(self) -> None:
        if min(self.max_sessions_per_tick, self.chunk_steps, self.output_steps) < 1:
            raise ValueError("a tick takes at least one session and one step")


class Waiting(Protocol):
    """What the policy needs to know of a job."""

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


def select(queue: deque[J], batching: OnlineBatching, now_seconds: float) -> Selection[J]:
    """Takes jobs from the front of the queue, first come first served.

    A job with more steps than a chunk goes back to the end of the queue after its tick (the caller requeues it), so
    a long write delays others by one chunk at a time. A cancelled job is dropped. A job whose deadline passed before
    its first step is left
    out; one that has begun is finished.
    """
    taken: list[J] = []
    expired: list[J] = []
    while queue and len(taken) < batching.max_sessions_per_tick:
        job = queue.popleft()
        if job.cancelled:
            continue
        if job.consumed == 0 and job.deadline_seconds is not None and job.deadline_seconds <= now_seconds:
            expired.append(job)
        else:
            taken.append(job)
    readers = sum(job.reads_each_step for job in taken)
    reading_chunk = min(batching.chunk_steps, max(1, batching.output_steps // readers)) if readers else 0
    chosen = [
        (job, min(job.remaining, reading_chunk if job.reads_each_step else batching.chunk_steps))
        for job in taken
    ]
    chosen.sort(key=lambda entry: -entry[1])
    return Selection(chosen=chosen, expired=expired)
