"""How cost and memory grow with sessions: the cost of a step by batch, and what idle sessions cost the others.

    python -m benchmarks.scaling --json [--only cost,idle] [--shapes R1,R2] [--crowds 1000,...] [--quick]

- cost: processor time of a step when 1, 2, 4 ... 512 sessions share a tick, in the engine and with the sessions' lane
  above it. Doubling should never raise it by more than a tenth, and at 64 it should be at most a fifth of that at 1.
- idle: 1 thousand to 1 million idle sessions of shape R2, live (in the state table) or packed (in host memory): bytes
  of each, a tick of 64 others that write, and a write of one other alone, against the same beside a thousand.

Each part has a process of its own with one compute thread and no RPC. The last line is JSON.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import torch

from benchmarks import outcome, scaling_cost, scaling_idle
from benchmarks.made_sessions import model_folder

CROWDS = "1000,10000,100000,1000000"

Row = dict[str, Any]

_SWITCH_INTERVAL_SECONDS = 0.001


def _apart(work: Callable[[], list[Row]]) -> list[Row]:
    """In a process of its own: what one part leaves in memory must not show in another's figures."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_prepared, work).result()


def _prepared(work: Callable[[], list[Row]]) -> list[Row]:
    torch.set_num_threads(1)
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)  # as in the server
    return work()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="cost,idle")
    parser.add_argument("--shapes", default="R1,R2")
    parser.add_argument("--crowds", default=CROWDS)
    parser.add_argument("--places", default="live,packed")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each batch size")
    parser.add_argument("--turn-seconds", type=float, default=0.2)
    parser.add_argument(
        "--quick", action="store_true", help="a minute: few turns, ten thousand idle sessions"
    )
    outcome.add_arguments(parser)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.turn_seconds, options.crowds = 2, 0.05, "1000,10000"
    parts = options.only.split(",")
    rows: dict[str, list[Row]] = {part: [] for part in parts}

    def add(part: str, found: list[Row]) -> None:
        rows[part] += found
        for row in () if options.json else found:
            print(part, row, flush=True)

    for shape in options.shapes.split(",") if "cost" in parts else ():
        work = partial(
            scaling_cost.measure, shape, scaling_cost.BATCHES, options.rounds, options.turn_seconds
        )
        add("cost", _apart(work))
    for place in options.places.split(",") if "idle" in parts else ():
        crowds = [int(crowd) for crowd in options.crowds.split(",")]
        with model_folder("R2") as folder:
            add("idle", _apart(partial(scaling_idle.measure, folder, place, crowds)))
    outcome.finish(options, "cpu", {"benchmark": "scaling", "device": "cpu", "results": rows})


if __name__ == "__main__":
    main()
