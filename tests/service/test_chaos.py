"""`benchmarks.chaos` in its short form: servers are killed, connections cut, and no step is lost or doubled."""

from __future__ import annotations

import pytest

from benchmarks.chaos import main
from tests.service.benchmark_run import Run, runner

# Nearly all of it is the start of a handful of Python processes, which a busy machine makes wait.
pytestmark = pytest.mark.timeout(180)

FLAWS = ("lost_steps", "doubled_steps", "wrong_outputs", "sessions_with_error", "sessions_gone_astray")


@pytest.fixture
def chaos(monkeypatch, capsys) -> Run:
    """Exit code and JSON of a run with some options."""
    return runner(main, monkeypatch, capsys)


@pytest.mark.parametrize(("store", "durability"), [("sqlite", "async"), ("redis", "sync")])
def test_users_notice_nothing_of_kills_and_cut_connections(chaos, store, durability) -> None:
    """No step is lost or doubled, no output is wrong and no error is seen, over kills, cuts and rewinds."""
    code, result = chaos(
        *["--seconds", "4", "--sessions", "16", "--store", store, "--durability", durability, "--seed", "1"]
    )
    (scenario,) = result["scenarios"]
    assert {flaw: scenario[flaw] for flaw in FLAWS} == dict.fromkeys(FLAWS, 0), scenario
    assert result["ok"] is True
    assert code == 0
    assert scenario["kills"] >= 2
    assert scenario["reconnects"] > 0
    assert scenario["rewinds"] > 0
    assert scenario["outputs_checked"] >= 40


@pytest.mark.soak
def test_a_server_that_applies_repeated_writes_again_is_caught(chaos) -> None:
    """The same run is not ok when the duplicate check is switched off: it sees doubled steps."""
    code, result = chaos(
        *["--seconds", "4", "--sessions", "16", "--store", "sqlite", "--durability", "async", "--seed", "1"],
        "--break-duplicates",
    )
    assert result["scenarios"][0]["doubled_steps"] > 0
    assert result["ok"] is False
    assert code == 1


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_full_run_is_ok(chaos) -> None:
    """200 sessions for a minute on each store in each durability mode, with enough of everything to mean something."""
    code, result = chaos("--seconds", "60")
    assert result["full_run"] is True
    assert {name: each for name, each in result["minimums"].items() if not each["met"]} == {}
    assert result["ok"] is True, result["scenarios"]
    assert code == 0
