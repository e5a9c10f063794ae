"""`benchmarks.soak`: replicas are restarted in turn under load and a real Prometheus, and nobody notices."""

from __future__ import annotations

import pytest

from benchmarks.soak import main
from benchmarks.soak_verdict import FLAWS
from tests.service.benchmark_run import Run, runner

# Nearly all of it is the start of a handful of Python processes, which a busy machine makes wait.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def soak(monkeypatch, capsys) -> Run:
    """Exit code and JSON of a run with some options."""
    return runner(main, monkeypatch, capsys)


def test_nobody_notices_a_rolling_update(soak) -> None:
    """No step lost or doubled, no answer wrong, no error seen, no document lost, every exit code 0, no alert."""
    code, result = soak("--seconds", "5", "--sessions", "12", "--restart-pause", "1", "--reload-pause", "1")
    assert {flaw: result[flaw] for flaw in FLAWS} == dict.fromkeys(FLAWS, 0), result
    assert result["ok"] is True
    assert code == 0
    # Both once at least, and one of them while users wrote.
    assert result["processes"] >= 5
    assert result["models_replaced"] > 0
    assert result["outputs_checked"] >= 40
    assert min(result["documents"], result["generations"], result["short_sessions"], result["scrapes"]) > 0


@pytest.mark.soak
def test_a_server_that_leaves_without_draining_is_caught(soak) -> None:
    """The same run is not ok when nothing is finished, stored or answered at the end: exit codes tell."""
    code, result = soak(
        *[
            "--seconds",
            "5",
            "--sessions",
            "20",
            "--restart-pause",
            "1",
            "--reload-pause",
            "1",
            "--break-drain",
        ]
    )
    assert result["bad_exits"] == result["processes"] > 4
    assert result["ok"] is False
    assert code == 1


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_the_full_run_is_ok(soak) -> None:
    """Eight minutes, with enough of everything to mean something, and memory that is flat."""
    code, result = soak("--seconds", "480")
    assert result["full_run"] is True
    assert {name: each for name, each in result["minimums"].items() if not each["met"]} == {}
    assert result["ok"] is True, result
    assert code == 0
