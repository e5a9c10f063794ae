"""A service of two replicas under load, updated again and again: does anybody notice, does anything grow?

    nice python -m benchmarks.soak --seconds 600 --json [--save soak] [--sessions 60] [--restart-pause 12]
                                   [--reload-pause 15] [--break-drain]

Two Gatehouse servers on one real Redis, at fixed addresses that clients know both. In waves, users write to sessions
of an LSTM and of a GRU, on streams and in unary calls, and go back and correct; visitors have documents scored, have
sequences generated, and make sessions that they delete. For the first 55 % of the time the servers are restarted in
turn: SIGTERM, exit code 0 demanded, start, a pause in which both serve. All the time (95 % of it) the model of
documents and generations gets other weights, and every server is told to look at its models again. A real Prometheus
evaluates the committed rules on their own clock.

Every answer is compared with what was asked: positions and revisions with the user's own tape, outputs with `nn.LSTM`
and `nn.GRU`, documents and generations with the old or the new weights as a whole. At the end every server is restarted
once more and every session read by its user, and by somebody who knows nothing of it. What the client library repeats
by itself is no error. A generation, which it does not repeat, may be refused before its first step, never cut short.

Memory: of each process that lived for two minutes or longer after the last restart, what it held in the last third of
that time, over what it held in the middle third (medians of a look each second), may be 1.02 at most, although its
models go on being replaced. Alerts: none may
fire but GatehouseRestarts, which must once an address has had more than three new processes.

The exit code is 1 when the run is not ok. From 480 seconds on it is a full run, which must also have enough of
everything (`minimums`) to mean something. `--break-drain` serves with a server that leaves without draining, and then
the run must fail. The last line of standard output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import outcome
from benchmarks.cannot_run import CannotRunError
from benchmarks.soak_scenario import Soak, play, write_soak_models
from benchmarks.soak_verdict import judged

FULL_RUN_SECONDS = 480.0
MINIMUMS = {
    "writes": 20_000,
    "processes": 12,
    "models_replaced": 10,
    "documents": 3_000,
    "generations": 300,
    "processes_judged_by_memory": 2,
}
WITHOUT_DRAIN = "benchmarks.soak_server_without_drain"


def minimums(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a full run must have, what this one has, and whether that is enough."""
    return {
        name: {"wanted": least, "found": figures[name], "met": figures[name] >= least}
        for name, least in MINIMUMS.items()
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Plays and judges it. Raises CannotRunError."""
    soak = Soak(
        seconds=options.seconds,
        sessions=options.sessions,
        restart_pause_seconds=options.restart_pause,
        reload_pause_seconds=options.reload_pause,
        module=WITHOUT_DRAIN if options.break_drain else None,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_soak_models(folder)
        figures = judged(soak, asyncio.run(play(soak, folder)), folder)
    reached = minimums(figures)
    full = soak.seconds >= FULL_RUN_SECONDS
    enough = not full or all(each["met"] for each in reached.values())
    return {
        "benchmark": "soak",
        "drain": "off" if options.break_drain else "on",
        "full_run": full,
        **figures,
        "ok": enough and figures["ok"],
        "minimums": reached,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=FULL_RUN_SECONDS, help="for which users write")
    parser.add_argument("--sessions", type=int, default=60)
    parser.add_argument(
        "--restart-pause", type=float, default=12.0, help="seconds from one start to the next SIGTERM"
    )
    parser.add_argument("--reload-pause", type=float, default=15.0, help="seconds between two reloads")
    parser.add_argument("--break-drain", action="store_true", help="serve without draining")
    outcome.add_arguments(parser)
    options = parser.parse_args()
    try:
        result = run(options)
    except* CannotRunError as errors:
        sys.exit(f"benchmarks.soak: {errors.exceptions[0]}")
    outcome.finish(options, "cpu", result)
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
