"""Who goes into a tick."""

from collections import deque
from dataclasses import dataclass

import pytest
from gatehouse_server.engine.policy import OnlineBatching, select


@dataclass
class Piece:
    """A waiting job as the policy sees it."""

    remaining: int
    consumed: int = 0
    deadline_seconds: float | None = None
    cancelled: bool = False
    reads_each_step: bool = False


def test_everything_that_waits_goes_into_the_tick():
    """A tick does not wait to fill and does not leave out what fits."""
    queue = deque(Piece(1) for _ in range(5))
    selection = select(queue, OnlineBatching(), now_seconds=0.0)
    assert len(selection.chosen) == 5
    assert not queue


def test_a_tick_takes_the_longest_waiting_up_to_its_limit():
    """First come, first served; the rest stays in its order."""
    pieces = [Piece(1) for _ in range(5)]
    queue = deque(pieces)
    selection = select(queue, OnlineBatching(max_sessions_per_tick=3), now_seconds=0.0)
    assert [piece for piece, _ in selection.chosen] == pieces[:3]
    assert list(queue) == pieces[3:]


def test_long_work_is_cut_into_chunks_and_the_longest_stands_first():
    """Chunks bound what one job takes of a tick; packing wants them in descending order."""
    queue = deque([Piece(1), Piece(100), Piece(0), Piece(3)])
    selection = select(queue, OnlineBatching(chunk_steps=16), now_seconds=0.0)
    assert [steps for _, steps in selection.chosen] == [16, 3, 1, 0]


def test_work_whose_time_is_up_is_left_out_unless_it_has_begun():
    """An expired job costs nothing; a started one is finished, since parts of it are computed."""
    late, begun, timely = Piece(1, 0, 5.0), Piece(1, 4, 5.0), Piece(1, 0, 5.1)
    selection = select(deque([late, begun, timely]), OnlineBatching(), now_seconds=5.0)
    assert selection.expired == [late]
    assert [piece for piece, _ in selection.chosen] == [begun, timely]


def test_limits_below_one_are_refused():
    """A tick that could take nothing would never end."""
    with pytest.raises(ValueError, match="at least one"):
        OnlineBatching(chunk_steps=0)


def test_cancelled_work_is_dropped():
    """Nothing is computed for somebody who has left."""
    queue = deque([Piece(1, cancelled=True), Piece(2)])
    selection = select(queue, OnlineBatching(), now_seconds=0.0)
    assert [piece.remaining for piece, _ in selection.chosen] == [2]
    assert not queue


def test_work_that_reads_outputs_at_each_step_shares_the_output_layer():
    """Many long reading jobs get shorter chunks, one step at least; others keep theirs."""
    queue = deque([*(Piece(100, reads_each_step=True) for _ in range(10)), Piece(100)])
    selection = select(queue, OnlineBatching(output_steps=40), now_seconds=0.0)
    assert [steps for _, steps in selection.chosen] == [16] + [4] * 10
    queue = deque(Piece(100, reads_each_step=True) for _ in range(10))
    selection = select(queue, OnlineBatching(output_steps=1), now_seconds=0.0)
    assert {steps for _, steps in selection.chosen} == {1}
