"""What a played scenario comes to: its figures, and whether anything was lost, doubled, wrong or noticed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.chaos_models import MODELS, PlainModel
from benchmarks.chaos_scenario import Kill, Played, Scenario

TOLERANCE = 1e-4
_REPLIES_AT_ONCE = 2048
_TROUBLES_TOLD = 5
_COMPLAINTS_TOLD = 5

FLAWS = (
    "lost_steps",
    "doubled_steps",
    "wrong_outputs",
    "untrue_durability",
    "sessions_with_error",
    "sessions_gone_astray",
)
"""Of all of these there must be none."""


def judged(scenario: Scenario, played: Played, models: Path) -> dict[str, Any]:
    """A scenario's figures. `ok` is false when any of FLAWS is not 0."""
    users = played.users
    wrong, checked, difference = wrong_outputs(played.replies, models)
    troubles = [user["trouble"] for user in users if user["trouble"] is not None]
    interrupted = [(begun, ended) for user in users for begun, ended in user["interrupted"]]
    writes = _total(users, "writes")
    figures: dict[str, Any] = {
        "store": scenario.store,
        "durability": scenario.durability,
        "sessions": len(users),
        "kills": len(played.kills),
        "reconnects": played.faults.reconnects,
        "connections_cut": played.faults.cuts,
        "stalls": played.faults.stalls,
        "half_open": played.faults.half_open,
        "writes": writes,
        "writes_per_second": round(writes / scenario.seconds, 1),
        "rewinds": _total(users, "rewinds"),
        "interruptions": sum(user["resumptions"].get("interruptions", 0) for user in users),
        "resumed": sum(user["resumptions"].get("resumed", 0) for user in users),
        "replays": sum(user["resumptions"].get("replayed_writes", 0) for user in users),
        "repeated_answers": _total(users, "repeated"),
        "outputs_checked": checked,
        "largest_difference": difference,
        "longest_pause_seconds": round(max(user["longest_pause_seconds"] for user in users), 2),
        **_recovery(played.kills, interrupted),
        "lost_steps": _total(users, "lost_steps"),
        "doubled_steps": _total(users, "doubled_steps"),
        "wrong_outputs": wrong + _total(users, "misshapen_outputs"),
        "untrue_durability": _total(users, "untrue_durability"),
        "sessions_with_error": sum(trouble["error"] for trouble in troubles),
        "sessions_gone_astray": sum(not trouble["error"] for trouble in troubles),
    }
    figures["ok"] = all(figures[flaw] == 0 for flaw in FLAWS)
    if troubles:
        figures["troubles"] = sorted(troubles, key=lambda trouble: trouble["seconds"])[:_TROUBLES_TOLD]
        figures["killed_at_seconds"] = [round(kill.killed, 3) for kill in played.kills]
    if played.complaints:
        figures["server_complaints"] = played.complaints[:_COMPLAINTS_TOLD]
    return figures


def _total(users: Sequence[dict[str, Any]], name: str) -> int:
    return sum(user[name] for user in users)


def _recovery(kills: Sequence[Kill], interrupted: Sequence[tuple[float, float]]) -> dict[str, float | None]:
    """Recovery: from a kill to the answer, over the writes that were under way then and had to be tried again. And
    how much of that the server took to serve again.
    """
    waits = [
        ended - kill.killed for kill in kills for begun, ended in interrupted if begun <= kill.killed < ended
    ]
    return {
        "recovery_p50_seconds": round(statistics.median(waits), 2) if waits else None,
        "restart_p50_seconds": round(statistics.median(kill.served_again - kill.killed for kill in kills), 2),
    }


def wrong_outputs(files: Sequence[Path], models: Path) -> tuple[int, int, float]:
    """How many of the replies' outputs are wrong, how many there are, and the largest difference in any of them."""
    plain = [PlainModel(models / name / "1") for name in MODELS]
    wrong, checked, largest = 0, 0, 0.0
    for path in files:
        with np.load(path) as replies:
            found = {name: replies[name] for name in replies.files}
        for number, model in enumerate(plain):
            rows = np.flatnonzero(found["models"] == number)
            for begin in range(0, len(rows), _REPLIES_AT_ONCE):
                part = {
                    name: values[rows[begin : begin + _REPLIES_AT_ONCE]] for name, values in found.items()
                }
                differences = _differences(model, part)
                # Written so that what is not a number is wrong.
                wrong += int((~(differences <= TOLERANCE)).sum())
                checked += len(differences)
                largest = max(largest, float(differences.max()))
    return wrong, checked, largest


def _differences(model: PlainModel, part: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """(N,): for each reply the largest difference of its vector, of what it says of its best, and of which are best."""
    expected = model.log_probabilities(part["tapes"], part["lengths"])
    k = part["best_ids"].shape[1]
    told = np.take_along_axis(expected, part["best_ids"], axis=1)
    best = -np.sort(-expected, axis=1)[:, :k]
    found: npt.NDArray[np.float32] = np.concatenate(
        [part["vectors"] - expected, part["best_values"] - told, part["best_values"] - best], axis=1
    )
    largest: npt.NDArray[np.float32] = np.abs(found).max(axis=1)
    return largest
