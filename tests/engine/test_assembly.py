"""From jobs to the arrays of a tick and back: who goes through the output layer, and who gets which answer."""

import numpy as np
import pytest
from gatehouse_server.engine.assembly import assemble, distribute
from gatehouse_server.engine.job import Job, Wants
from gatehouse_server.engine.online_backend import HeadAnswer


def job(row, steps, **wants):
    """A job of so many steps, its tokens and rows told apart by its number."""
    return Job(
        inputs=np.arange(steps) + 10 * row,
        source_row=row,
        target_row=row + 100,
        wants=Wants(**wants),
        finished=lambda job, failure: None,
        received_seconds=0.0,
    )


def answer(head, most):
    """An answer in which row r has the ids r, r + 1, ..., `most` of them, and score c is c."""
    ids = head.rows[:, None] + np.arange(most)
    return HeadAnswer(
        best_ids=ids,
        best_values=ids.astype(np.float32),
        scores=np.arange(len(head.score_rows), dtype=np.float32),
        vectors=np.arange(len(head.vector_rows), dtype=np.float32)[:, None],
        restricted=[(ids[:k], -ids[:k].astype(np.float32)) for _, ids, k in head.restricted],
    )


def test_each_job_gets_as_many_entries_as_it_wants():
    """Jobs that are ranked together get their own number each, those that want none get nothing."""
    jobs = [job(1, 1, k=5), job(2, 1, k=2), job(3, 1), job(4, 1, k=3)]
    assembled = assemble([(each, 1) for each in jobs])
    assert assembled.batch.head.rows.tolist() == [
        4,
        5,
        7,
    ]  # after the four sources: the states after the steps
    distribute(assembled, answer(assembled.batch.head, most=5))
    assert [[best.ids.tolist() for best in each.best] for each in jobs] == [
        [[4, 5, 6, 7, 8]],
        [[5, 6]],
        [],
        [[7, 8, 9]],
    ]
    assert jobs[1].best[0].values.tolist() == [5.0, 6.0]


def test_a_chunk_goes_through_the_output_layer_only_where_its_job_asks():
    """The middle of a long job is not read, its end is; a job that asks at each step is read at each."""
    middle, last, each_step = job(1, 9, k=1), job(2, 3, k=1), job(3, 2, k=1, every_step=True)
    batch = assemble([(middle, 3), (last, 3), (each_step, 2)]).batch
    assert batch.batch_sizes == (3, 3, 2)
    assert batch.inputs.tolist() == [10, 20, 30, 11, 21, 31, 12, 22]
    first = 3  # rows 0 to 2 are the sources
    assert batch.head.rows.tolist() == [first + 7, first + 2, first + 5]
    assert assemble([(middle, 3)]).batch.head is None


def test_scores_candidates_and_whole_outputs_find_their_jobs():
    """Each consumed token is scored by the state before it; what else is asked stands beside it."""
    scored, chosen, whole = (
        job(1, 2, scores=True),
        job(2, 1, k=2, candidates=np.array([3, 6, 9])),
        job(3, 1, vector=True),
    )
    watching = job(4, 0, k=1, watched=8)
    assembled = assemble([(scored, 2), (chosen, 1), (whole, 1), (watching, 0)])
    head = assembled.batch.head
    assert head.rows[head.score_rows].tolist() == [
        0,
        4,
        3,
    ]  # the source, the first step's state, the peeked state
    assert head.score_tokens.tolist() == [10, 11, 8]
    distribute(assembled, answer(head, most=1))
    assert scored.scores == [0.0, 1.0]
    assert (chosen.best[0].ids.tolist(), chosen.best[0].values.tolist()) == ([3, 6], [-3.0, -6.0])
    assert (whole.best[0].vector.tolist(), whole.best[0].ids) == ([0.0], None)
    assert (watching.best[0].watched, watching.best[0].ids.tolist()) == (2.0, [3])


def test_a_tick_of_single_steps_reads_the_ends_of_those_that_ask():
    """The middle of a longer job and a job that asks nothing are not read; source rows and tokens keep their order."""
    middle, silent, reading, last = job(1, 3, k=2), job(2, 1), job(3, 1, k=2), job(4, 2, k=1)
    last.advance(1, 0.0)
    assembled = assemble([(middle, 1), (silent, 1), (reading, 1), (last, 1)])
    batch = assembled.batch
    assert (batch.batch_sizes, batch.inputs.tolist()) == ((4,), [10, 20, 30, 41])
    assert batch.source_rows.tolist() == [1, 2, 3, 104]  # the last one goes on where its first step ended
    assert batch.target_rows.tolist() == [101, 102, 103, 104]
    assert (batch.head.rows.tolist(), batch.head.ks.tolist()) == ([6, 7], [2, 1])
    distribute(assembled, answer(batch.head, most=2))
    assert [[best.ids.tolist() for best in each.best] for each in (middle, silent, reading, last)] == [
        [],
        [],
        [[6, 7]],
        [[7]],
    ]
    assert assemble([(silent, 1)]).batch.head is None


@pytest.mark.parametrize("wants", [{}, {"k": 3}])
def test_single_steps_make_the_same_tick_in_whatever_company(wants):
    """The short way for ticks of nothing but plain single steps numbers rows as the way for all others does."""
    plain = [job(1, 1, k=2), job(2, 1), job(3, 1, **wants)]
    alone = assemble([(each, 1) for each in plain]).batch
    among_others = assemble([*((each, 1) for each in plain), (job(4, 1, k=1, suppressed=True), 1)]).batch
    for name in ("inputs", "source_rows", "target_rows"):
        assert getattr(alone, name).dtype == getattr(among_others, name).dtype
        assert getattr(alone, name).tolist() == getattr(among_others, name).tolist()[:3]
    read = len(alone.head.rows)
    assert (alone.head.rows - 3).tolist() == (among_others.head.rows - 4).tolist()[:read]
    assert alone.head.ks.tolist() == among_others.head.ks.tolist()[:read]
