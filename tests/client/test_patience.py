"""How long to go on trying."""

from __future__ import annotations

import itertools

import pytest
from gatehouse.patience import Deadline, pauses


def test_pauses_double_up_to_two_seconds() -> None:
    """Pauses grow from a twentieth of a second to two seconds, each within a quarter of its mean."""
    means = [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0]
    for pause, mean in zip(itertools.islice(pauses(), len(means)), means, strict=True):
        assert 0.75 * mean <= pause <= 1.25 * mean


def test_an_attempt_leaves_time_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten seconds the first attempt gets five, of one and a half all but half a second, of one all."""
    now = 100.0
    monkeypatch.setattr("gatehouse.patience.time.monotonic", lambda: now)
    deadline = Deadline(10)
    assert deadline.attempt_seconds() == 5
    now = 108.5
    assert deadline.attempt_seconds() == 1
    now = 109.5
    assert deadline.attempt_seconds() == 0.5
    now = 111.0
    assert deadline.attempt_seconds() == 0


def test_a_pause_never_outlasts_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause takes at most half of what is left, and none is made when next to nothing is left."""
    now = 100.0
    monkeypatch.setattr("gatehouse.patience.time.monotonic", lambda: now)
    deadline = Deadline(10)
    assert deadline.pause_seconds(2) == 2
    now = 109.0
    assert deadline.pause_seconds(2) == 0.5
    now = 109.96
    assert deadline.pause_seconds(2) is None


def test_a_pause_lasts_at_least_as_long_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server told comes before the pause of one's own; when it does not fit, there is no pause."""
    now = 100.0
    monkeypatch.setattr("gatehouse.patience.time.monotonic", lambda: now)
    deadline = Deadline(10)
    assert deadline.pause_seconds(2, told_seconds=3) == 5
    assert deadline.pause_seconds(2, told_seconds=9) == 9.5
    assert deadline.pause_seconds(2, told_seconds=10) is None
