"""What a live session takes is told as it was measured."""

import json
from pathlib import Path

import pytest
from gatehouse_server.sessions.footprint import TAPE_STEPS, live_session_bytes

_MEASURED = Path(__file__).parents[2] / "benchmarks" / "results" / "sessions.json"


def test_the_figure_is_the_one_that_capacity_is_planned_with() -> None:
    """For the keyboard model, with as many recent writes as were measured: within two in a hundred."""
    measured = {
        row["place"]: row for row in json.loads(_MEASURED.read_text(encoding="utf-8"))["results"]["memory"]
    }
    live = measured["live"]
    assert live["tape_steps"] == TAPE_STEPS
    told = live_session_bytes(state_bytes=(896 + 192) * 4, feature_size=None, recent_writes=8)
    assert told == pytest.approx(live["bytes_per_session"], rel=0.02)


def test_sessions_of_vectors_keep_more_states_and_larger_tapes() -> None:
    """A state every 16 steps, and four bytes for each value of each step."""
    state = 1000
    tokens = live_session_bytes(state_bytes=state, feature_size=None, recent_writes=8)
    vectors = live_session_bytes(state_bytes=state, feature_size=10, recent_writes=8)
    assert vectors - tokens == (TAPE_STEPS // 16) * state + TAPE_STEPS * 4 * (10 - 1)
