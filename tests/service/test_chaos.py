"""`benchmarks.chaos` in its short form: servers are killed, connections cut, and no step is lost or doubled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Nearly all of it is the start of a handful of Python processes, which a busy machine makes wait.
pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parents[2]
FLAWS = ("lost_steps", "doubled_steps", "wrong_outputs", "sessions_with_error", "sessions_gone_astray")


def chaos(*options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of a run."""
    command = [sys.executable, "-m", "benchmarks.chaos", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("store", "durability"), [("sqlite", "async"), ("redis", "sync")])
def test_users_notice_nothing_of_kills_and_cut_connections(store, durability) -> None:
    """No step is lost or doubled, no output is wrong and no error is seen, over kills, cuts and rewinds."""
    code, result = chaos(
        *["--seconds", "5", "--sessions", "40", "--store", store, "--durability", durability, "--seed", "1"]
    )
    (scenario,) = result["scenarios"]
    assert {flaw: scenario[flaw] for flaw in FLAWS} == dict.fromkeys(FLAWS, 0), scenario
    assert result["ok"] is True
    assert code == 0
    assert scenario["kills"] >= 2
    assert scenario["reconnects"] > 0
    assert scenario["rewinds"] > 0
    assert scenario["outputs_checked"] >= 40


def test_a_server_that_applies_repeated_writes_again_is_caught() -> None:
    """The same run is not ok when the duplicate check is switched off: it sees doubled steps."""
    code, result = chaos(
        *["--seconds", "5", "--sessions", "40", "--store", "sqlite", "--durability", "async", "--seed", "1"],
        "--break-duplicates",
    )
    assert result["scenarios"][0]["doubled_steps"] > 0
    assert result["ok"] is False
    assert code == 1


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_full_run_is_ok() -> None:
    """200 sessions for a minute on each store in each durability mode, with enough of everything to mean something."""
    code, result = chaos("--seconds", "60")
    assert result["full_run"] is True
    assert {name: each for name, each in result["minimums"].items() if not each["met"]} == {}
    assert result["ok"] is True, result["scenarios"]
    assert code == 0
