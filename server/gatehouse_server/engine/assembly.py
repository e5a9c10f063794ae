"""From jobs to the arrays of a tick, and from its answers back to the jobs. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatehouse_server.engine.head_builder import HeadBuilder, HeadReader
from gatehouse_server.engine.job import Best, Floats, Ids, Job
from gatehouse_server.engine.online_backend import HeadAnswer, HeadRequest, OnlineBatch
from gatehouse_server.engine.value import value

Chosen = Sequence[tuple[Job, int]]

_NONE: Ids = np.empty(0, dtype=np.int64)
_NO_FLOATS: Floats = np.empty((0, 0), dtype=np.float32)
_NO_ANSWER = HeadAnswer(
    best_ids=np.empty((0, 0), dtype=np.int64),
    best_values=_NO_FLOATS,
    scores=np.empty(0, dtype=np.float32),
    vectors=_NO_FLOATS,
    restricted=(),
)


@value
class Assembled:
    """A batch, and who gets what of its answers; `scored` pairs positions among the scores with jobs.

    Either `readers` stand for the steps that outputs are wanted of, or the jobs of `ranked`, of which each gets its
    best alone.
    """

    batch: OnlineBatch
    readers: Sequence[HeadReader] = ()
    scored: Sequence[tuple[int, Job]] = ()
    ranked: Sequence[Job] = ()


def assemble(chosen: Chosen) -> Assembled:
    """Builds the arrays of a tick from jobs with their step counts, longest first; zero steps come last."""
    if chosen[0][1] == chosen[-1][1] == 1 and all(job.wants.plain for job, _ in chosen):
        return _assemble_one_step([job for job, _ in chosen])
    moving = [(job, steps) for job, steps in chosen if steps]
    peeking = [job for job, steps in chosen if not steps]
    batch_sizes = _batch_sizes([steps for _, steps in moving])
    head = HeadBuilder(sources=len(moving), peeked=len(peeking), batch_sizes=batch_sizes)
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
        hidden_rows=head.hidden_rows(),
    )
    return Assembled(batch, readers=head.readers, scored=head.scored)


def distribute(assembled: Assembled, answer: HeadAnswer | None, hidden: Floats | None = None) -> None:
    """Gives each job what was answered for it, in the order of its steps: by the head, and as `hidden` (C, R)."""
    if answer is None:
        answer = _NO_ANSWER
    most = answer.best_ids.shape[1]
    for job, ids, values in zip(assembled.ranked, answer.best_ids, answer.best_values, strict=False):
        k = job.wants.k
        job.best.append(Best(ids, values) if k == most else Best(ids[:k], values[:k]))
    if not assembled.readers and not assembled.scored:
        return
    scores = answer.scores.tolist()
    for job, row, restricted, vector, watched, state in assembled.readers:
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
        if state is not None:
            assert hidden is not None, "hidden rows were asked for"
            best.hidden = hidden[state]
        job.best.append(best)
    for place, job in assembled.scored:
        job.scores.append(scores[place])


def _assemble_one_step(jobs: Sequence[Job]) -> Assembled:
    """The usual tick, without a look at each step of each job: all take one, and at most the best are read at its end.

    As `HeadBuilder` would have it: the states after the step are numbered behind the source states.
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
