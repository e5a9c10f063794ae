"""Who goes into a tick."""

from dataclasses import dataclass

import pytest
from gatehouse_server.engine.policy import OnlineBatching, TickQueue


@dataclass(eq=False)
class Piece:
    """A waiting job as the policy sees it."""

    remaining: int
    consumed: int = 0
    deadline_seconds: float | None = None
    cancelled: bool = False
    reads_each_step: bool = False
    client: str = "one"


def queue_of(pieces, batching=None, *, step_seconds=0.0001):
    """A queue with these jobs, which has learned what a step costs."""
    queue = TickQueue(batching or OnlineBatching())
    for _ in range(200):
        queue.ran(1000 * step_seconds, 1000)
    for piece in pieces:
        queue.append(piece)
    return queue


def run_tick(queue, now_seconds=0.0):
    """One tick as the engine runs it: what has steps left is queued again. Returns who took part with how many."""
    chosen = queue.take(now_seconds).chosen
    for piece, steps in chosen:
        piece.consumed += steps
        piece.remaining -= steps
        if piece.remaining:
            queue.append(piece)
    return chosen


def test_everything_that_waits_goes_into_the_tick():
    """A tick does not wait to fill and does not leave out what fits."""
    queue = queue_of(Piece(1) for _ in range(5))
    assert len(queue.take(0.0).chosen) == 5
    assert len(queue) == 0


def test_a_tick_takes_the_longest_waiting_up_to_its_limit():
    """First come, first served within a flow; the rest stays in its order."""
    pieces = [Piece(1) for _ in range(5)]
    queue = queue_of(pieces, OnlineBatching(max_sessions_per_tick=3))
    assert [piece for piece, _ in queue.take(0.0).chosen] == pieces[:3]
    assert len(queue) == 2
    assert [piece for piece, _ in queue.take(0.0).chosen] == pieces[3:]


def test_long_work_is_cut_into_chunks_and_the_longest_stands_first():
    """Chunks bound what one job takes of a tick; packing wants them in descending order."""
    queue = queue_of([Piece(1), Piece(100), Piece(0), Piece(3)])
    assert [steps for _, steps in queue.take(0.0).chosen] == [16, 3, 1, 0]


def test_work_whose_time_is_up_is_left_out_unless_it_has_begun():
    """An expired job costs nothing; a started one is finished, since parts of it are computed."""
    late, begun, timely = Piece(1, 0, 5.0), Piece(1, 4, 5.0), Piece(1, 0, 5.1)
    selection = queue_of([late, begun, timely]).take(5.0)
    assert selection.expired == [late]
    assert {piece for piece, _ in selection.chosen} == {begun, timely}


def test_limits_below_one_are_refused():
    """A tick that could take nothing would never end."""
    with pytest.raises(ValueError, match="at least one"):
        OnlineBatching(chunk_steps=0)


def test_cancelled_work_is_dropped():
    """Nothing is computed for somebody who has left."""
    queue = queue_of([Piece(1, cancelled=True), Piece(2)])
    assert [piece.remaining for piece, _ in queue.take(0.0).chosen] == [2]
    assert len(queue) == 0


def test_work_that_reads_outputs_at_each_step_shares_the_output_layer():
    """Many long reading jobs get shorter chunks, one step at least; others keep theirs."""
    queue = queue_of(
        [*(Piece(10, reads_each_step=True) for _ in range(10)), Piece(16)], OnlineBatching(output_steps=40)
    )
    assert [steps for _, steps in queue.take(0.0).chosen] == [16] + [4] * 10
    queue = queue_of((Piece(10, reads_each_step=True) for _ in range(10)), OnlineBatching(output_steps=1))
    assert {steps for _, steps in queue.take(0.0).chosen} == {1}


def test_no_client_waits_behind_the_queue_of_another():
    """Whoever floods, a job of anybody else is in the very next tick."""
    queue = queue_of([*(Piece(1, client="flood") for _ in range(5000)), Piece(1, client="other")])
    assert [piece.client for piece, _ in queue.take(0.0).chosen].count("other") == 1


def test_long_work_stays_in_the_background_while_there_is_short_work():
    """Ticks with long work stay short while others were at work within the last second, and are efficient after it."""
    queue = queue_of([Piece(1, client="other"), *(Piece(4096, client="flood") for _ in range(500))])
    assert sum(steps for _, steps in run_tick(queue, 0.0)) == 31  # 30 of 0.1 ms make the 3 ms that are shared
    assert sum(steps for _, steps in run_tick(queue, 0.9)) == 30
    assert sum(steps for _, steps in run_tick(queue, 2.0)) == 256


def test_a_little_long_work_does_not_make_ticks_of_short_work_smaller():
    """Small ticks would cost throughput, and a busy server could not keep up."""
    queue = queue_of([Piece(100), *(Piece(1) for _ in range(1000))])
    assert len(queue.take(0.0).chosen) == 256


def test_many_clients_with_a_few_jobs_each_share_efficient_ticks():
    """Where nobody floods, ticks are as large as they may be."""
    queue = queue_of(Piece(1, client=f"client {number % 8}") for number in range(400))
    assert len(queue.take(0.0).chosen) == 256


def test_clients_beyond_a_ticks_room_take_turns():
    """With more clients than a tick has places, each is served before anybody is served twice."""
    pieces = [Piece(1, client=f"client {number % 10}") for number in range(100)]
    queue = queue_of(pieces, OnlineBatching(max_sessions_per_tick=4))
    seen = [piece.client for _ in range(5) for piece, _ in queue.take(0.0).chosen]
    assert sorted(seen) == sorted(f"client {number % 10}" for number in range(20))


def test_short_work_does_not_wait_behind_long_work_of_the_same_client():
    """A client's long writes are a flow of their own: all together they get what the latency target allows."""
    queue = queue_of([*(Piece(4096) for _ in range(512)), Piece(1)])
    chosen = run_tick(queue)
    assert chosen[0][1] == 1
    assert any(piece.remaining == 0 for piece, _ in chosen)
    assert sum(steps for _, steps in chosen) == 31


def test_long_work_goes_on_beside_short_work_without_end():
    """A full tick of short jobs still has a place for a long one."""
    queue = queue_of([Piece(100), *(Piece(1) for _ in range(10_000))])
    assert any(piece.remaining > 1 for piece, _ in queue.take(0.0).chosen)


def test_a_tick_of_one_session_starves_neither_short_nor_long_work():
    """Where a tick has a single place, both kinds of work go on all the same."""
    batching = OnlineBatching(max_sessions_per_tick=1)
    queue = queue_of([Piece(100), *(Piece(1) for _ in range(10))], batching)
    assert {piece.remaining > 0 for piece, _ in run_tick(queue)} == {True, False}


def test_long_work_alone_has_efficient_ticks():
    """Nobody else is there to be delayed."""
    queue = queue_of(Piece(4096) for _ in range(512))
    assert sum(steps for _, steps in run_tick(queue)) == 256
    queue = queue_of(Piece(4096) for _ in range(32))
    assert sum(steps for _, steps in run_tick(queue)) == 480  # 15 each of the 500 that 50 ms allow


def test_every_job_is_finished_in_the_end():
    """Nothing is lost or starved, whatever the mix."""
    pieces = [Piece(1 + 37 * number % 90, client=f"client {number % 7}") for number in range(600)]
    steps = sum(piece.remaining for piece in pieces)
    queue = queue_of(pieces)
    done = 0
    for tick in range(10_000):
        if not len(queue):
            break
        done += sum(count for _, count in run_tick(queue, tick / 100))
    assert done == steps
    assert not any(piece.remaining for piece in pieces)
