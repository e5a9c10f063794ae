"""What a soak comes to: its figures, and whether anything was lost, doubled, wrong, noticed, or grew."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.chaos_models import PlainModel
from benchmarks.chaos_verdict import wrong_outputs
from benchmarks.soak_answers import Checked, check_documents, check_generations, check_sessions, missing
from benchmarks.soak_lives import MOST_GROWTH, Life, growths
from benchmarks.soak_scenario import CONTENTS, Soak, Soaked, content
from benchmarks.soak_visits import SESSION_MODEL

FLAWS = (
    "lost_steps",
    "doubled_steps",
    "wrong_outputs",
    "sessions_with_error",
    "sessions_gone_astray",
    "visitors_with_error",
    "documents_lost",
    "generations_cut",
    "bad_exits",
    "failed_reloads",
    "growing_processes",
    "unexpected_alerts",
    "missing_alerts",
)
"""Of all of these there must be none."""

RESTARTS = "GatehouseRestarts"
"""Fires when one address has three new processes within half an hour, however they came about: it must."""

_LIVES_TO_FIRE = 4
_TOLD = 5


def judged(soak: Soak, soaked: Soaked, folder: Path) -> dict[str, Any]:
    """A soak's figures. `ok` is false when any of FLAWS is not 0."""
    figures = {
        "seconds": soak.seconds,
        "sessions": len(soaked.users),
        **_users(soaked, folder),
        **_visitors(soaked.visited, folder),
        **_lives(soaked.lives, soaked.settled_since),
        "reloads": soaked.reloads.looks,
        "models_replaced": soaked.reloads.replaced,
        "failed_reloads": len(soaked.reloads.problems),
        **_alerts(soaked),
    }
    figures["wrong_outputs"] += figures.pop("wrong_answers")
    figures["ok"] = all(figures[flaw] == 0 for flaw in FLAWS)
    troubles = [user["trouble"] for user in soaked.users if user["trouble"] is not None]
    told = {
        "troubles": troubles,
        "slowest_writes": _slowest_writes(soaked),
        "visitors_saw": soaked.visited["errors"],
        "reload_problems": soaked.reloads.problems,
        "server_complaints": soaked.complaints,
    }
    return figures | {name: found[:_TOLD] for name, found in told.items() if found}


def _users(soaked: Soaked, folder: Path) -> dict[str, Any]:
    users = soaked.users
    wrong, checked, difference = wrong_outputs([soaked.replies], folder / "models")
    troubles = [user["trouble"] for user in users if user["trouble"] is not None]
    return {
        "writes": _total(users, "writes"),
        "rewinds": _total(users, "rewinds"),
        "repeated_answers": _total(users, "repeated"),
        "interruptions": sum(user["resumptions"].get("interruptions", 0) for user in users),
        "resumed": sum(user["resumptions"].get("resumed", 0) for user in users),
        "outputs_checked": checked,
        "largest_difference": difference,
        "longest_pause_seconds": round(max(user["longest_pause_seconds"] for user in users), 2),
        "slow_writes": sum(len(user["slow"]) for user in users),
        "lost_steps": _total(users, "lost_steps"),
        "doubled_steps": _total(users, "doubled_steps"),
        "wrong_outputs": wrong + _total(users, "misshapen_outputs"),
        "sessions_with_error": sum(trouble["error"] for trouble in troubles),
        "sessions_gone_astray": sum(not trouble["error"] for trouble in troubles),
    }


def _slowest_writes(soaked: Soaked) -> list[dict[str, Any]]:
    """The slowest first, each with what the servers did meanwhile; seconds since the first was started."""
    origin = min(life.begun for life in soaked.lives)
    found = sorted(
        (slow for user in soaked.users for slow in user["slow"]),
        key=lambda slow: slow["begun"] - slow["ended"],
    )
    return [
        slow
        | {"begun": round(slow["begun"] - origin, 3), "ended": round(slow["ended"] - origin, 3)}
        | {
            "meanwhile": [
                life.told(origin) for life in soaked.lives if life.changed(slow["begun"], slow["ended"])
            ]
        }
        for slow in found
    ]


def _visitors(visited: dict[str, Any], folder: Path) -> dict[str, Any]:
    contents = [PlainModel(content(folder, number)) for number in range(CONTENTS)]
    documents = check_documents(visited["documents"], contents)
    generations = check_generations(visited["generations"], contents)
    sessions = check_sessions(visited["sessions"], PlainModel(folder / "models" / SESSION_MODEL / "1"))
    checked: Sequence[Checked] = (documents, generations, sessions)
    return {
        "documents": visited["documents_sent"],
        "documents_by_content": list(documents.by_content),
        "generations": generations.answers,
        "generations_by_content": list(generations.by_content),
        "generations_asked_again": visited["asked_again"],
        "short_sessions": sessions.answers,
        "wrong_answers": sum(each.wrong for each in checked),
        "visitors_with_error": len(visited["errors"]),
        "documents_lost": missing(visited),
        "generations_cut": visited["cut"],
    }


def _lives(lives: Sequence[Life], settled_since: float) -> dict[str, Any]:
    grown = growths(lives, settled_since)
    codes = Counter(str(life.exit_code) for life in lives)
    left = [life.leaving_seconds for life in lives if life.leaving_seconds is not None]
    return {
        "processes": len(lives),
        "exit_codes": dict(codes),
        "bad_exits": len(lives) - codes["0"],
        "start_p50_seconds": round(statistics.median(life.start_seconds for life in lives), 2),
        "leaving_p50_seconds": round(statistics.median(left), 2) if left else None,
        "leaving_most_seconds": round(max(left), 2) if left else None,
        "processes_judged_by_memory": len(grown),
        "memory_growth": [round(growth, 4) for growth in grown],
        "growing_processes": sum(growth > MOST_GROWTH for growth in grown),
    }


def _alerts(soaked: Soaked) -> dict[str, Any]:
    """One new process more than needed, before the alert must: the last ones may not have been looked at in time."""
    lives = max(Counter(life.replica for life in soaked.lives).values())
    may = {RESTARTS} if lives >= _LIVES_TO_FIRE else set()
    must = {RESTARTS} if lives > _LIVES_TO_FIRE else set()
    return {
        "scrapes": soaked.scrapes,
        "shares_of_bad_operations": {name: round(share, 5) for name, share in soaked.shares.items()},
        "alerts_fired": sorted(soaked.firing),
        "alerts_pending": sorted(soaked.pending),
        "unexpected_alerts": len(soaked.firing - may),
        # A Prometheus that saw nothing would be silent about everything.
        "missing_alerts": len(must - soaked.firing) + (not soaked.scrapes),
    }


def _total(users: Sequence[dict[str, Any]], name: str) -> int:
    return sum(user[name] for user in users)
