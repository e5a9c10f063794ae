"""Nothing is lost and nothing happens twice, though servers are killed and connections cut: the proof, by trying.

    python -m benchmarks.chaos --seconds 60 --json [--store sqlite|redis|both] [--durability async|sync|both]
                               [--sessions 200] [--seed N] [--break-duplicates]

Each scenario is a store in a durability mode: one Gatehouse server on SQLite, or two on one real Redis (Debian's
redis-server, started and stopped here). Every few seconds one is killed with `kill -9` and started again. Sessions
belong to users in two client processes, some on multiplexed streams and some on unary calls, of an LSTM and of a GRU.
They append, go back, correct and start over through a proxy that cuts connections in the middle of messages, stalls
them, and leaves them half open. Each reply's position and revision is compared with the user's own tape, and its
outputs with `nn.LSTM` and `nn.GRU` over that tape. At the end every server is killed once more, every session is read
by its user, and once more by somebody who knows nothing of it.

`--seconds` is the time for which users write in each scenario. From 60 on it is a full run, which must also have
enough of everything (`minimums`) to mean something; a shorter one only reports that. The exit code is 1 when the
run is not ok. `--break-duplicates` serves with the duplicate check switched off, and then the run must fail: it
does, with doubled steps above 0. The last line of standard output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

from benchmarks.cannot_run import CannotRunError
from benchmarks.chaos_models import write_models
from benchmarks.chaos_scenario import Durability, Scenario, Store, play
from benchmarks.chaos_verdict import judged

FULL_RUN_SECONDS = 60.0
MINIMUMS = {"kills": 10, "writes": 20_000, "rewinds": 100}
"""Of all scenarios together."""

MINIMUM_SESSIONS = 200
"""Of each scenario."""


def minimums(scenarios: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What a full run must have, what this one has, and whether that is enough."""
    wanted = {name: (least, sum(each[name] for each in scenarios)) for name, least in MINIMUMS.items()}
    wanted["sessions"] = MINIMUM_SESSIONS, min(each["sessions"] for each in scenarios)
    replays = [each["replays"] for each in scenarios if each["durability"] == "async"]
    if replays:
        wanted["replays"] = 1, min(replays)
    return {
        name: {"wanted": least, "found": found, "met": found >= least}
        for name, (least, found) in wanted.items()
    }


def run(options: argparse.Namespace, say: Any) -> dict[str, Any]:
    """Plays every scenario that is asked for. Raises CannotRunError."""
    seed = random.randrange(2**31) if options.seed is None else options.seed
    figures = []
    with tempfile.TemporaryDirectory() as scratch:
        models = Path(scratch) / "models"
        write_models(models)
        for store in get_args(Store) if options.store == "both" else (options.store,):
            for durability in get_args(Durability) if options.durability == "both" else (options.durability,):
                scenario = Scenario(
                    store=store,
                    durability=durability,
                    seconds=options.seconds,
                    sessions=options.sessions,
                    seed=seed,
                    break_duplicates=options.break_duplicates,
                )
                folder = Path(scratch) / f"{store}-{durability}"
                folder.mkdir()
                played = asyncio.run(play(scenario, models, folder))
                figures.append(judged(scenario, played, models))
                say(figures[-1])
    reached = minimums(figures)
    full = options.seconds >= FULL_RUN_SECONDS
    enough = not full or all(each["met"] for each in reached.values())
    return {
        "benchmark": "chaos",
        "machine": platform.processor() or platform.machine(),
        "seconds": options.seconds,
        "seed": seed,
        "duplicate_check": "off" if options.break_duplicates else "on",
        "full_run": full,
        "ok": enough and all(each["ok"] for each in figures),
        "minimums": reached,
        "scenarios": figures,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=FULL_RUN_SECONDS)
    parser.add_argument("--store", choices=(*get_args(Store), "both"), default="both")
    parser.add_argument("--durability", choices=(*get_args(Durability), "both"), default="both")
    parser.add_argument("--sessions", type=int, default=MINIMUM_SESSIONS)
    parser.add_argument(
        "--seed", type=int, help="of what users, proxy and killer draw; by default another each time"
    )
    parser.add_argument("--break-duplicates", action="store_true", help="serve without the duplicate check")
    parser.add_argument("--json", action="store_true", help="print the last line only")
    options = parser.parse_args()
    try:
        result = run(
            options, (lambda figures: None) if options.json else (lambda figures: print(figures, flush=True))
        )
    except CannotRunError as error:
        sys.exit(f"benchmarks.chaos: {error}")
    print(json.dumps(result))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
