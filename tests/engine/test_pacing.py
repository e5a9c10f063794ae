"""Slices of documents leave room for online work, and never vanish."""

from __future__ import annotations

import pytest
from gatehouse_server.engine.pacing import SHORTEST_SLICE_SECONDS, Pacing


class Clock:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """At some time."""
    return Clock()


@pytest.fixture
def pacing(clock: Clock) -> Pacing:
    """With a target of 5 ms."""
    return Pacing(target_seconds=0.005, clock=clock)


def test_without_online_work_a_slice_takes_the_whole_target(pacing: Pacing) -> None:
    """The first operation after a pause waits no longer than it is meant to."""
    assert pacing.slice_seconds() == 0.005


def test_a_slice_leaves_time_for_the_tick_that_follows_it(pacing: Pacing) -> None:
    """Slice and tick together stay within the target."""
    pacing.online_ran(0.002)
    assert pacing.slice_seconds() == pytest.approx(0.003)


def test_however_long_ticks_are_documents_get_something(pacing: Pacing) -> None:
    """A target that online work misses by itself does not stop the documents."""
    pacing.online_ran(0.2)
    assert pacing.slice_seconds() == SHORTEST_SLICE_SECONDS


def test_a_longer_tick_counts_at_once_and_shorter_ones_by_and_by(pacing: Pacing) -> None:
    """One that was short by chance does not make the next operation wait."""
    for seconds in (0.001, 0.003, 0.001):
        pacing.online_ran(seconds)
    just_after = pacing.slice_seconds()
    assert 0.002 < just_after < 0.0022
    for _ in range(200):
        pacing.online_ran(0.001)
    assert pacing.slice_seconds() == pytest.approx(0.004, abs=1e-5)


def test_ticks_of_long_ago_do_not_count(pacing: Pacing, clock: Clock) -> None:
    """When the users have gone, documents get long slices again."""
    pacing.online_ran(0.004)
    clock.now += 1.5
    assert pacing.slice_seconds() == 0.005
