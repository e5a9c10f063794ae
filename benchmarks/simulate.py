"""A million sessions on paper clocks: who waits how long, and what deciding who goes into a tick costs.

    python -m benchmarks.simulate --json [--seconds 240] [--people 1000,100000,1000000]

The real policy (`engine.policy.select`, the order of turns) serves people who type (`benchmarks.typists`) on a virtual
clock, without torch and without gRPC. What a tick takes comes from benchmarks/results/service_times.json, measured on
the real engine. Capacity is the rate at which the simulated server works off a backlog of key presses; a load is a
fraction of it, brought about by the pauses that people make between bursts. The loads are hours of a day whose trough
has a third of the peak's key presses.

- crowds: waits, batches and the processor time of the decisions, for each crowd and load.
- decisions: their cost again, crowds taking turns within the run, so that their ratio can be trusted.
- flood: a client that writes 4,096 steps again and again in many sessions, beside people at the lowest load.

The last line of standard output is JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import platform
import sys
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from gatehouse_server.engine.policy import OnlineBatching

from benchmarks.simulated_server import Played, Service, SimulatedServer
from benchmarks.typists import Bursts, Habits, Presses

CROWDS = (1_000, 100_000, 1_000_000)
LOADS = (0.3, 0.6, 0.8, 0.95)
FLOODS = (0, 64, 512)
DECISION_LOADS = (0.3, 0.5, 0.95)
PEAK_HOUR = 16.0
SERVICE_TIMES = Path(__file__).parent / "results" / "service_times.json"

_STOCK = 20_000
_BACKLOG = 100_000
_FLOOD_PEOPLE = 100_000
_DECISION_ROUNDS = 20
_DECISION_SECONDS = 40.0
_SHORTEST_PAUSE_SECONDS = 0.5

_PARTS = tuple(part.name for part in fields(Service))

Row = dict[str, Any]


def measured_service() -> Service:
    """What a tick takes, as `benchmarks.service_times` last measured it."""
    fit = json.loads(SERVICE_TIMES.read_text(encoding="utf-8"))["fit"]
    return Service(**{name: fit[name] for name in _PARTS})


def capacity(bursts: Bursts, service: Service, batching: OnlineBatching) -> float:
    """Key presses per second while there are always enough to fill a tick."""
    count = min(_BACKLOG, len(bursts.steps))
    backlog = Presses(seconds=np.zeros(count), person=np.arange(count), steps=bursts.steps[:count])
    return count / SimulatedServer(count, service=service, batching=batching).play(backlog).ended_seconds


def hours_of(load: float) -> list[float]:
    """The hours of the day at which a server has this load that has the greatest of `LOADS` at its peak.

    The rate of a day is a cosine between its trough and its peak, which is at 16 o'clock.
    """
    low, high = min(LOADS), max(LOADS)
    distance = math.acos(2 * (load - low) / (high - low) - 1) * 12 / math.pi
    return sorted({round((PEAK_HOUR + sign * distance) % 24, 1) for sign in (-1, 1)})


class Simulation:
    """One server and one kind of people, with crowds and loads to choose."""

    def __init__(self, *, service: Service, seconds: float, seed: int) -> None:
        self.service = service
        self.batching = OnlineBatching()
        self._seconds = seconds
        self._rng = np.random.default_rng(seed)
        self.bursts = Bursts(Habits(), _STOCK, self._rng)
        self.capacity = capacity(self.bursts, service, self.batching)

    def crowd(self, people: int) -> list[Row]:
        """A row for each load, all with the same sessions."""
        tracemalloc.start()
        server = SimulatedServer(people, service=self.service, batching=self.batching)
        session_bytes = tracemalloc.get_traced_memory()[0] / people
        tracemalloc.stop()
        gc.collect()
        gc.freeze()  # as in the server
        rows = []
        for load in LOADS:
            row: Row = {"sessions": people, "load": load}
            pause = self.bursts.mean_pause_seconds(load * self.capacity / people)
            if pause < _SHORTEST_PAUSE_SECONDS:
                most = people * self.bursts.most_presses_per_second / self.capacity
                row["skipped"] = f"typing without a pause, they make a load of {most:.2f}"
            else:
                row |= {"mean_pause_seconds": round(pause, 1), **self._played(server, people, pause)}
                row["bytes_per_simulated_session"] = round(session_bytes)
            rows.append(row)
        gc.unfreeze()
        return rows

    def decisions(self, crowds: Sequence[int]) -> list[Row]:
        """What deciding costs as the crowd grows, at equal loads.

        Crowds take turns, two seconds of typing at a time; a ratio is the median of those within a round.
        """
        servers = {
            people: SimulatedServer(people, service=self.service, batching=self.batching) for people in crowds
        }
        gc.collect()
        gc.freeze()
        rows: list[Row] = []
        for load in DECISION_LOADS:
            rate = load * self.capacity
            pauses = {people: self.bursts.mean_pause_seconds(rate / people) for people in crowds}
            parts = {
                people: self.bursts.draw(people, _DECISION_SECONDS, pause, self._rng).parts(_DECISION_ROUNDS)
                for people, pause in pauses.items()
                if pause >= _SHORTEST_PAUSE_SECONDS
            }
            costs: dict[int, list[float]] = {people: [] for people in parts}
            for number in range(_DECISION_ROUNDS):
                for people, presses in parts.items():
                    played = servers[people].play(presses[number])
                    costs[people].append(played.deciding_ns / played.jobs / 1000)
            fewest = np.array(costs[min(costs)])
            rows += [
                {
                    "sessions": people,
                    "load": load,
                    "decision_us_per_job": round(float(np.median(each)), 3),
                    "ratio_to_fewest": round(float(np.median(each / fewest)), 2),
                }
                for people, each in costs.items()
            ]
        gc.unfreeze()
        return rows

    def flood(self) -> list[Row]:
        """A row for each number of sessions that one client floods."""
        pause = self.bursts.mean_pause_seconds(min(LOADS) * self.capacity / _FLOOD_PEOPLE)
        presses = self.bursts.draw(_FLOOD_PEOPLE, self._seconds / 6, pause, self._rng)
        rows = []
        for flood in FLOODS:
            server = SimulatedServer(_FLOOD_PEOPLE, service=self.service, batching=self.batching)
            played = server.play(presses, flood_sessions=flood)
            rows.append(
                {
                    "flooding_sessions": flood,
                    "people": _FLOOD_PEOPLE,
                    "load_of_people": min(LOADS),
                    "wait_ms": _percentiles(played.waits),
                    "mean_tick_ms": round(1000 * played.busy_seconds / played.ticks, 3),
                    "most_tick_ms": round(1000 * played.most_tick_seconds, 3),
                    "behind_at_end_seconds": round(max(0.0, played.ended_seconds - self._seconds / 6), 2),
                    "flood_writes": played.flood_writes,
                }
            )
        return rows

    def _played(self, server: SimulatedServer, people: int, pause: float) -> Row:
        presses = self.bursts.draw(people, self._seconds, pause, self._rng)
        played = server.play(presses)
        return {
            "presses": len(presses.seconds),
            "presses_per_second": round(len(presses.seconds) / self._seconds, 1),
            "busy": round(played.busy_seconds / self._seconds, 3),
            "wait_ms": _percentiles(played.waits),
            "answer_ms": _percentiles(played.answers),
            "ticks": played.ticks,
            "mean_batch": round(played.jobs / played.ticks, 1),
            "most_tick_ms": round(1000 * played.most_tick_seconds, 3),
            **_decisions(played),
        }


def _decisions(played: Played) -> Row:
    return {
        "decision_us_per_tick": round(played.deciding_ns / played.ticks / 1000, 2),
        "decision_us_per_job": round(played.deciding_ns / played.jobs / 1000, 3),
        "most_decision_us": round(played.most_deciding_ns / 1000, 1),
        "decision_share_of_tick": round(played.deciding_ns / 1e9 / played.busy_seconds, 4),
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    p50, p99, p999 = np.percentile(seconds, (50, 99, 99.9)).tolist()
    return {"p50": round(1000 * p50, 3), "p99": round(1000 * p99, 3), "p99.9": round(1000 * p999, 3)}


def main() -> None:
    """Simulates and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=240.0, help="simulated time of each row")
    parser.add_argument("--people", default=",".join(map(str, CROWDS)), help="separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the last line only")
    options = parser.parse_args()
    began = time.perf_counter()
    gc.set_threshold(20_000, 20, 50)  # as in the server
    simulation = Simulation(service=measured_service(), seconds=options.seconds, seed=options.seed)
    crowds = [int(people) for people in options.people.split(",")]
    results = {
        "crowds": [row for people in crowds for row in simulation.crowd(people)],
        "decisions": simulation.decisions(crowds),
        "flood": simulation.flood(),
    }
    if not options.json:
        for part, rows in results.items():
            for row in rows:
                print(part, row)
    print(
        json.dumps(
            {
                "benchmark": "simulate",
                "machine": platform.processor() or platform.machine(),
                "python": platform.python_version(),
                "without": [name for name in ("torch", "grpc") if name not in sys.modules],
                "simulated_seconds": options.seconds,
                "seconds": round(time.perf_counter() - began, 1),
                "service": {
                    "formula": "turn + job * jobs + step * steps + pass * steps of the longest",
                    **{name: getattr(simulation.service, name) for name in _PARTS},
                },
                "capacity_presses_per_second": round(simulation.capacity, 1),
                "typing": simulation.bursts.figures(),
                "hours_of_loads": {f"{load:.2f}": hours_of(load) for load in LOADS},
                "results": results,
            }
        )
    )


if __name__ == "__main__":
    main()
