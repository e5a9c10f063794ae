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


def run_tick(queue: deque[Piece], batching: OnlineBatching) -> list[Piece]:
    """One tick as the engine runs it: what has steps left goes back to the end. Returns who took part."""
    chosen = select(queue, batching, now_seconds=0.0).chosen
    for piece, steps in chosen:
        piece.remaining -= steps
        piece.consumed += steps
        if piece.remaining:
            queue.append(piece)
    return [piece for piece, _ in chosen]


def ticks_until(piece: Piece, queue: deque[Piece], batching: OnlineBatching) -> int:
    """Runs ticks up to the one in which the piece takes part; which one that is."""
    for number in range(1, 100):
        if any(taking is piece for taking in run_tick(queue, batching)):
            return number
    raise AssertionError("it never took part")


def test_a_flood_of_long_writes_delays_single_steps_by_no_more_than_a_tick():
    """A client that writes without end in as many sessions as a tick holds: each key press waits for one tick more."""
    batching = OnlineBatching(max_sessions_per_tick=8)
    queue = deque(Piece(4096) for _ in range(8))
    for _ in range(50):
        run_tick(queue, batching)
        press = Piece(1)
        queue.append(press)
        assert ticks_until(press, queue, batching) <= 2


def test_a_flood_with_room_left_in_the_tick_delays_nobody():
    """With one place left, a key press goes into the very next tick, whatever the others write."""
    batching = OnlineBatching(max_sessions_per_tick=8)
    queue = deque(Piece(4096) for _ in range(7))
    for _ in range(50):
        run_tick(queue, batching)
        press = Piece(1)
        queue.append(press)
        assert ticks_until(press, queue, batching) == 1


@pytest.mark.parametrize("steps", [1, 16, 17, 4096])
def test_how_many_wait_decides_the_wait_not_how_much_they_write(steps):
    """Behind twice what a tick holds, a job's turn is the third tick, be the others' writes short or long."""
    batching = OnlineBatching(max_sessions_per_tick=4)
    last = Piece(1)
    queue = deque([*(Piece(steps) for _ in range(8)), last])
    assert ticks_until(last, queue, batching) == 3


def test_a_long_write_moves_on_while_single_steps_keep_coming():
    """Neither starves the other: beside a stream of key presses that fits, a paste gets a chunk in every tick."""
    batching = OnlineBatching(max_sessions_per_tick=8, chunk_steps=16)
    paste = Piece(160)
    queue = deque([paste])
    for _ in range(10):
        presses = [Piece(1) for _ in range(7)]
        queue.extend(presses)
        run_tick(queue, batching)
        assert [press.remaining for press in presses] == [0] * 7
    assert paste.remaining == 0


def test_a_tick_looks_only_at_those_it_takes():
    """What a decision costs is bounded by the tick's limit, however many wait behind."""
    looked_at = set()

    class Watched(Piece):
        def __getattribute__(self, name):
            looked_at.add(id(self))
            return super().__getattribute__(name)

    queue = deque(Watched(1) for _ in range(10_000))
    looked_at.clear()
    taken = select(queue, OnlineBatching(max_sessions_per_tick=8), now_seconds=0.0).chosen
    assert looked_at <= {id(piece) for piece, _ in taken}
    assert len(queue) == 10_000 - 8
