"""From jobs to the arrays of a tick, and from its answers back to the jobs. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gatehouse_server.engine.job import Best, Ids, Job
from gatehouse_server.engine.online_backend import HeadAnswer, HeadRequest, OnlineBatch
from gatehouse_server.engine.value import value

Chosen = Sequence[tuple[Job, int]]

_NONE: Ids = np.empty(0, dtype=np.int64)


@value
class Assembled:
    """A batch, and who gets what of its answers; `scored` pairs positions among the scores with jobs.

    Either `readers` stand for the rows of the head request, or the jobs of `ranked`, of which each gets its best alone.
    """

    batch: OnlineBatch
    readers: Sequence[HeadReader] = ()
    scored: Sequence[tuple[int, Job]] = ()
    ranked: Sequence[Job] = ()


class HeadReader(NamedTuple):
    """A step that a job wants outputs of: `row` of the head request, and where its answers stand.

    One is made for each session of each tick: a tuple costs a third of a frozen dataclass.
    """

    job: Job
    row: int
    restricted: int | None = None
    vector: int | None = None
    watched: int | None = None


def assemble(chosen: Chosen) -> Assembled:
    """Builds the arrays of a tick from jobs with their step counts, longest first; zero steps come last."""
    if chosen[0][1] == chosen[-1][1] == 1 and all(job.wants.plain for job, _ in chosen):
        return _assemble_one_step([job for job, _ in chosen])
    moving = [(job, steps) for job, steps in chosen if steps]
    peeking = [job for job, steps in chosen if not steps]
    batch_sizes = _batch_sizes([steps for _, steps in moving])
    head = _HeadBuilder(sources=len(moving), peeked=len(peeking), batch_sizes=batch_sizes)
    for place, (job, steps) in enumerate(moving):
        head.add_steps(job, place, steps)
    for place, job in enumerate(peeking):
        head.add_peek(job, place)
    batch = OnlineBatch(
        inputs=_pack(moving, batch_sizes),
        batch_sizes=batch_sizes,
        source_rows=np.array([job.source_row for job, _ in moving], dtype=np.int64),
        target_rows=np.array([job.target_row for job, _ in moving], dtype=np.int64),
        peeked_rows=np.array([job.source_row for job in peeking], dtype=np.int64),
        head=head.request(),
    )
    return Assembled(batch, readers=head.readers, scored=head.scored)


def distribute(assembled: Assembled, answer: HeadAnswer) -> None:
    """Gives each job what the head answered for it, in the order of its steps."""
    most = answer.best_ids.shape[1]
    for job, ids, values in zip(assembled.ranked, answer.best_ids, answer.best_values, strict=False):
        k = job.wants.k
        job.best.append(Best(ids, values) if k == most else Best(ids[:k], values[:k]))
    if not assembled.readers and not assembled.scored:
        return
    scores = answer.scores.tolist()
    for job, row, restricted, vector, watched in assembled.readers:
        best = Best()
        if restricted is not None:
            best.ids, best.values = answer.restricted[restricted]
        elif job.wants.k:
            best.ids, best.values = (
                answer.best_ids[row, : job.wants.k],
                answer.best_values[row, : job.wants.k],
            )
        if vector is not None:
            best.vector = answer.vectors[vector]
        if watched is not None:
            best.watched = scores[watched]
        job.best.append(best)
    for place, job in assembled.scored:
        job.scores.append(scores[place])


def _assemble_one_step(jobs: Sequence[Job]) -> Assembled:
    """The usual tick, without a look at each step of each job: all take one, and at most the best are read at its end.

    As `_HeadBuilder` would have it: the states after the step are numbered behind the source states.
    """
    count = len(jobs)
    ranked = [job for job in jobs if job.wants.k and job.remaining == 1]
    head = None
    if ranked:
        rows = np.arange(count, 2 * count)
        if len(ranked) < count:
            rows = rows[[job.wants.k > 0 and job.remaining == 1 for job in jobs]]
        head = HeadRequest(
            rows=rows,
            ks=np.array([job.wants.k for job in ranked]),
            suppressed=None,
            score_rows=_NONE,
            score_tokens=_NONE,
            vector_rows=_NONE,
            restricted=(),
        )
    batch = OnlineBatch(
        inputs=np.array([job.inputs[job.consumed] for job in jobs]),
        batch_sizes=(count,),
        source_rows=np.array([job.source_row for job in jobs]),
        target_rows=np.array([job.target_row for job in jobs]),
        peeked_rows=_NONE,
        head=head,
    )
    return Assembled(batch, ranked=ranked)


def _batch_sizes(lengths: Sequence[int]) -> tuple[int, ...]:
    """How many sequences have a step t, for each t; lengths are non-increasing."""
    if not lengths:
        return ()
    if lengths[0] == 1:
        return (len(lengths),)
    counts = np.searchsorted(-np.asarray(lengths), -np.arange(1, lengths[0] + 1), side="right")
    return tuple(counts.tolist())


def _pack(moving: Chosen, batch_sizes: tuple[int, ...]) -> np.ndarray:
    """The chunks' inputs, time-major: all first steps, all second steps, ..."""
    if not moving:
        return np.empty(0, dtype=np.int64)
    if len(batch_sizes) == 1:
        return np.array([job.inputs[job.consumed] for job, _ in moving])
    chunks = [job.inputs[job.consumed : job.consumed + steps] for job, steps in moving]
    packed = np.empty((sum(batch_sizes), *chunks[0].shape[1:]), dtype=chunks[0].dtype)
    starts = np.concatenate(([0], np.cumsum(batch_sizes)[:-1]))
    for place, chunk in enumerate(chunks):
        packed[starts[: len(chunk)] + place] = chunk
    return packed


class _HeadBuilder:
    """Collects the rows that go through the output layer."""

    def __init__(self, *, sources: int, peeked: int, batch_sizes: tuple[int, ...]) -> None:
        self._peek_offset = sources
        self._step_offsets = [sources + peeked]
        for size in batch_sizes:
            self._step_offsets.append(self._step_offsets[-1] + size)
        self._rows: list[int] = []
        self._suppressed: list[bool] = []
        self._ks: list[int] = []
        self._score_rows: list[int] = []
        self._score_tokens: list[int] = []
        self._vector_rows: list[int] = []
        self._restricted: list[tuple[int, np.ndarray, int]] = []
        self.readers: list[HeadReader] = []
        self.scored: list[tuple[int, Job]] = []

    def add_steps(self, job: Job, place: int, steps: int) -> None:
        """The rows that a job with steps in this tick needs."""
        wants = job.wants
        if not wants.scores and not wants.every_step:
            # What nearly every job wants, without a look at each of its steps: its last one, or nothing.
            if wants.per_step and job.remaining == steps:
                self._read(job, self._step_offsets[steps - 1] + place)
            return
        rows_after_step: dict[int, int] = {}
        if wants.per_step:
            last = job.remaining == steps
            for step in range(steps) if wants.every_step else range(steps - 1, steps) if last else ():
                rows_after_step[step] = self._read(job, self._step_offsets[step] + place)
        if wants.scores:
            for step in range(steps):
                # A token is scored by the state before it: the source for the first one, else the step before.
                row = rows_after_step.get(step - 1)
                if row is None:
                    state = place if step == 0 else self._step_offsets[step - 1] + place
                    row = self._row(state, k=0, suppressed=False)
                self.scored.append((self._score(row, int(job.inputs[job.consumed + step])), job))

    def add_peek(self, job: Job, place: int) -> None:
        """The row of a job that only looks at its source state."""
        if job.wants.per_step:
            self._read(job, self._peek_offset + place)

    def request(self) -> HeadRequest | None:
        """The head request, absent when nobody asked for outputs."""
        if not self._rows:
            return None
        return HeadRequest(
            rows=np.array(self._rows, dtype=np.int64),
            ks=np.array(self._ks, dtype=np.int64),
            suppressed=np.array(self._suppressed) if any(self._suppressed) else None,
            score_rows=np.array(self._score_rows, dtype=np.int64),
            score_tokens=np.array(self._score_tokens, dtype=np.int64),
            vector_rows=np.array(self._vector_rows, dtype=np.int64),
            restricted=self._restricted,
        )

    def _row(self, state: int, *, k: int, suppressed: bool) -> int:
        self._rows.append(state)
        self._ks.append(k)
        self._suppressed.append(suppressed)
        return len(self._rows) - 1

    def _score(self, row: int, token: int) -> int:
        self._score_rows.append(row)
        self._score_tokens.append(token)
        return len(self._score_rows) - 1

    def _read(self, job: Job, state: int) -> int:
        wants = job.wants
        row = self._row(state, k=wants.k if wants.candidates is None else 0, suppressed=wants.suppressed)
        restricted = vector = None
        watched = None if wants.watched is None else self._score(row, wants.watched)
        if wants.candidates is not None:
            restricted = len(self._restricted)
            self._restricted.append((row, wants.candidates, wants.k))
        if wants.vector:
            vector = len(self._vector_rows)
            self._vector_rows.append(row)
        self.readers.append(HeadReader(job, row, restricted, vector, watched))
        return row
