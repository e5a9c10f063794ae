"""Writes at earlier positions: the answers are those of never having gone further."""

import numpy as np
import pytest
from gatehouse_server.errors import PositionNotRetained

from tests.sessions.following import assert_follows


def test_a_write_at_an_earlier_position_equals_never_having_made_the_detour(desk, oracle):
    """Going back and writing on gives the predictions of the tape as it then reads."""
    session = desk.create().session_id
    desk.write(session, [14, 15, 16, 17, 18])
    desk.write(session, [19])
    assert_follows(desk.write(session, [30], at=3, vector=True), oracle, [14, 15, 16, 30])
    assert_follows(desk.write(session, [31, 32], vector=True), oracle, [14, 15, 16, 30, 31, 32])
    assert_follows(desk.write(session, [33], at=0, vector=True), oracle, [33])


def test_moving_without_steps_answers_the_position_that_it_moved_to(desk, oracle):
    """A write with only a position goes there and predicts from there, position 0 included."""
    session = desk.create().session_id
    desk.write(session, [14, 15, 16])
    moved = desk.write(session, at=2, vector=True)
    assert (moved.state.position, moved.steps[0].position) == (2, 2)
    assert_follows(moved, oracle, [14, 15])
    assert_follows(desk.write(session, at=0, vector=True), oracle, [])


def test_rewinding_to_a_write_boundary_computes_nothing_again(desk):
    """The states before the last writes are kept, so going back to one costs no steps."""
    session = desk.create().session_id
    for token in (14, 15, 16):
        desk.write(session, [token])
    steps = sum(tick.steps for tick in desk.counts.ticks)
    desk.write(session, [20], at=2)
    assert sum(tick.steps for tick in desk.counts.ticks) == steps + 1


def test_a_session_of_features_goes_back_to_any_of_its_last_positions(desk):
    """Any of the last 64 positions can be written at, and the answer is that of never having gone further."""
    values = np.random.default_rng(1).normal(size=(150, 3)).astype(np.float32)
    session, straight = desk.create("motion").session_id, desk.create("motion").session_id
    for begin in (0, 100, 101, 117):
        desk.write(session, values[begin : {0: 100, 100: 101, 101: 117, 117: 150}[begin]])
    oldest = desk.get(session).state.oldest_restorable_position
    assert 0 < oldest <= 150 - 64
    for at in (149, 133, 112, 111, oldest):
        desk.write(straight, values[:at], at=0)
        expected = desk.write(straight, values[:5], vector=True).steps[0].vector
        went_back = desk.write(session, values[:5], at=at, vector=True).steps[0].vector
        assert went_back.tolist() == expected.tolist()


def test_a_session_of_features_says_how_far_back_it_can_go(desk):
    """Further back than what is kept is refused with the range that is; the beginning always can be."""
    session = desk.create("motion").session_id
    desk.write(session, np.ones((200, 3), dtype=np.float32))
    oldest = desk.get(session).state.oldest_restorable_position
    with pytest.raises(PositionNotRetained) as caught:
        desk.write(session, np.ones((1, 3), dtype=np.float32), at=oldest - 1)
    assert caught.value.metadata["oldest_restorable_position"] == str(oldest)
    assert desk.get(session).state.position == 200
    assert desk.write(session, np.ones((1, 3), dtype=np.float32), at=0).state.position == 1
