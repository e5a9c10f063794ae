"""What sessions cost: latencies of their operations, memory in each tier, stores, and the return after a kill.

    python -m benchmarks.sessions --json [--only latency,memory,crowd,rates,restart] [--model keyboard|R1|R2]

- latency: rewind, fork, export, import and wake-up, each beside a plain append.
- memory: bytes per session, live and in the stores.
- crowd: bytes per session in host memory, and the engine's turn, with up to a million known sessions.
- rates: writes per second of 64 sessions, by store and durability.
- restart: a server killed with 10,000 sessions in SQLite.

Each part has a process of its own with one compute thread. Other programs may use the machine: compare ratios. Needs
redis-server on the PATH. The last line of standard output is JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks import session_crowd, session_latency, session_memory, session_rates, session_restart
from benchmarks.hand import K
from benchmarks.made_sessions import model_folder

Rows = list[dict[str, Any]]

PARTS: dict[str, Callable[[Path], Rows]] = {
    "latency": session_latency.measure,
    "memory": session_memory.measure,
    "crowd": session_crowd.measure,
    "rates": session_rates.measure,
    "restart": session_restart.measure,
}

_SWITCH_INTERVAL_SECONDS = 0.001


def _run_part(name: str, folder: Path) -> Rows:
    torch.set_num_threads(1)
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)  # as in the server
    return PARTS[name](folder)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PARTS), help="the parts to run, separated by commas")
    parser.add_argument("--model", default="keyboard", choices=("keyboard", "R1", "R2"))
    parser.add_argument("--json", action="store_true", help="print the last line only")
    options = parser.parse_args()
    names = options.only.split(",")
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        parser.error(f"--only: there is no {', '.join(unknown)}; there are {', '.join(PARTS)}")
    results: dict[str, Rows] = {}
    seconds: dict[str, float] = {}
    with model_folder(options.model) as folder:
        for name in names:
            began = time.perf_counter()
            # Of its own: what one part leaves in memory must not show in another's figures.
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                results[name] = pool.submit(_run_part, name, folder).result()
            seconds[name] = round(time.perf_counter() - began, 1)
            if not options.json:
                for row in results[name]:
                    print(name, row, flush=True)
    machine = platform.processor() or platform.machine()
    print(
        json.dumps(
            {
                "benchmark": "sessions",
                "machine": machine,
                "model": options.model,
                "k": K,
                "part_seconds": seconds,
                "results": results,
            }
        )
    )


if __name__ == "__main__":
    main()
