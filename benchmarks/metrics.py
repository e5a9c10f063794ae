"""What counting costs, at full load: processor time of all that is told to the metrics, beside that of the server.

python -m benchmarks.metrics --json

A real server (shape R2, the quicker one) answers 64 sessions on one stream, as fast as it can: its processor time for a
step. In process, what its engine and its stream tell the metrics of such ticks, and a scrape: theirs. The share of
telling in a step is what turning the metrics off could win. The last line of standard output is JSON.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gatehouse_server.engine.observer import OnlineTick
from gatehouse_server.telemetry.metrics import Metrics
from prometheus_client import generate_latest

from benchmarks import outcome
from benchmarks.load_process import load_processes, run_together
from benchmarks.online_load import Steps
from benchmarks.server_process import running_gatehouse
from benchmarks.shapes import write_shape

SESSIONS = 64
_TURNS, _TICKS = 30, 200
_SCRAPE_SECONDS = 15.0


def telling(metrics: Metrics) -> Callable[[], None]:
    """What is told of one tick: by the engine's thread, then by the stream that answers."""
    waits = [0.0001 * (number % 30) for number in range(SESSIONS)]
    spans = [0.001 + wait for wait in waits]
    tick = OnlineTick(
        model="r2@1",
        sessions=SESSIONS,
        steps=SESSIONS,
        outputs=SESSIONS,
        form_seconds=0.0003,
        compute_seconds=0.004,
        publish_seconds=0.0002,
        queue_seconds=waits,
    )

    def tell() -> None:
        metrics.engine.online_tick(tick)
        queue = compute = 0.0
        for wait in waits:  # as the stream adds up the stages of what it answers
            queue, compute = queue + wait, compute + 0.004
        metrics.requests.answered("write", "OK", spans, (queue, compute))

    return tell


def least_seconds(call: Callable[[], object], times: int) -> float:
    """Processor time of one call, the least of many turns."""
    least = float("inf")
    for _ in range(_TURNS):
        began = time.process_time()
        for _ in range(times):
            call()
        least = min(least, (time.process_time() - began) / times)
    return least


def step_seconds(seconds: float) -> tuple[float, float]:
    """Processor time of the server for one step at full load, and steps per second."""
    with tempfile.TemporaryDirectory() as scratch, load_processes(1) as (client,):
        write_shape(Path(scratch), "R2")
        with running_gatehouse(Path(scratch)) as server:
            asked = Steps(regime="multiplexed", sessions=SESSIONS, model="r2")
            (ran,), (cpu,) = run_together([(client, asked, server.target)], seconds, [server.pid])
    steps = len(ran.latencies)
    return cpu / steps, steps / seconds


def main() -> None:
    """Measures, and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the load lasts")
    outcome.add_arguments(parser)
    options = parser.parse_args()
    metrics = Metrics()
    tell = telling(metrics)
    tell_step = least_seconds(tell, _TICKS) / SESSIONS
    scrape = least_seconds(lambda: generate_latest(metrics.registry), 3)
    step, rate = step_seconds(options.seconds)
    outcome.finish(
        options,
        "cpu",
        {
            "step_us": round(1e6 * step, 2),
            "steps_per_second": round(rate),
            "tell_us": round(1e6 * tell_step, 3),
            "tell_share": round(tell_step / step, 4),
            "scrape_ms": round(1e3 * scrape, 2),
            "scrape_share_every_15_s": round(scrape / _SCRAPE_SECONDS, 5),
        },
    )


if __name__ == "__main__":
    main()
