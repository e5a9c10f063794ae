"""Sessions and documents on one server, alone and beside each other; and one client that floods the others.

    python -m benchmarks.mixed --json [--sessions 8,64] [--seconds 4] [--rounds 2] [--only mixed,flood] [--quick]

A real server process with shapes R2 (online) and R3 (offline), and a client process for each kind of load. In every
round, in turns: the sessions alone (closed loop, one stream each), the documents alone (flat out, 32 in flight: batches
are small, so that their rate is found within seconds), and both together. Percentiles are of all rounds together, rates
their mean.

`flood`: 8 sessions of one client, alone and beside another client whose 512 sessions write 4,096 steps each, again and
again, on one stream. Their p99 should rise by no more than a tick: `tick_ms` is the mean tick meanwhile, as the server
tells it at /metrics. Each round has a server of its own. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import outcome
from benchmarks.document_load import Documents
from benchmarks.document_mix import random_mix
from benchmarks.latencies import percentiles
from benchmarks.load_process import LoadProcess, Ran, load_processes, run_together
from benchmarks.online_load import Flood, Steps
from benchmarks.server_metrics import samples_of, ticks_between
from benchmarks.server_process import ServerProcess, running_gatehouse
from benchmarks.shapes import write_shape

IN_FLIGHT = 32
DOCUMENTS = 1000
FLOOD = Flood(model="r2", sessions=512, write_steps=4096)
FLOODED_SESSIONS = 8

Row = dict[str, Any]


def mixed_row(
    server: ServerProcess, clients: Sequence[LoadProcess], documents: Documents, sessions: int, options: Any
) -> Row:
    """Sessions and documents."""
    steps = Steps(regime="streams", sessions=sessions, model="r2")
    online, offline = (clients[0], steps, server.target), (clients[1], documents, server.target)
    found: dict[str, list[Ran]] = {name: [] for name in ("alone", "beside", "documents", "documents_beside")}
    for _ in range(options.rounds):
        found["alone"] += _run([online], server, options.seconds)
        found["documents"] += _run([offline], server, options.seconds)
        beside = _run([online, offline], server, options.seconds)
        found["beside"].append(beside[0])
        found["documents_beside"].append(beside[1])
    alone, beside_documents = _online(found["alone"]), _online(found["beside"])
    rate, rate_beside = _document_rate(found["documents"]), _document_rate(found["documents_beside"])
    return {
        "part": "mixed",
        "sessions": sessions,
        "online_alone": alone,
        "online_beside_documents": beside_documents,
        "p99_ratio": round(beside_documents["p99_ms"] / alone["p99_ms"], 2),
        "p50_ratio": round(beside_documents["p50_ms"] / alone["p50_ms"], 2),
        "documents_per_second_alone": rate,
        "documents_per_second_beside_online": rate_beside,
        "documents_kept": round(rate_beside / rate, 3),
        "steps_kept": round(beside_documents["steps_per_second"] / alone["steps_per_second"], 3),
    }


def flood_row(models: Path, flags: Sequence[str], clients: Sequence[LoadProcess], options: Any) -> Row:
    """A few sessions beside a client that floods. Each round has its own server: a flood leaves work behind."""
    steps = Steps(regime="streams", sessions=FLOODED_SESSIONS, model="r2")
    alone, beside, ticks, writes = [], [], [], 0
    for _ in range(options.rounds):
        with running_gatehouse(models, *flags) as server:
            online, flood = (clients[0], steps, server.target), (clients[1], FLOOD, server.target)
            alone += _run([online], server, options.seconds / 2)
            before = samples_of(server)
            ran = _run([online, flood], server, options.seconds)
            ticks.append(ticks_between(before, samples_of(server)))
            beside.append(ran[0])
            writes += ran[1].told["writes"]
    quiet, flooded = _online(alone), _online(beside)
    tick_ms = round(1000 * statistics.mean(each.mean_seconds for each in ticks), 3)
    rise = flooded["p99_ms"] - quiet["p99_ms"]
    return {
        "part": "flood",
        "sessions": FLOODED_SESSIONS,
        "flooding_sessions": FLOOD.sessions,
        "flooding_write_steps": FLOOD.write_steps,
        "flooding_writes_done": writes,
        "online_alone": quiet,
        "online_beside_flood": flooded,
        "p99_rise_ms": round(rise, 3),
        "tick_ms": tick_ms,
        "sessions_in_a_tick": round(statistics.mean(each.mean_sessions for each in ticks), 1),
        "p99_rise_in_ticks": round(rise / tick_ms, 2),
    }


def _run(loads: list[Any], server: ServerProcess, seconds: float) -> list[Ran]:
    return run_together(loads, seconds, [server.pid])[0]


def _online(found: Sequence[Ran]) -> Row:
    rates = [len(each.latencies) / each.seconds for each in found]
    latencies = [latency for each in found for latency in each.latencies]
    return {"steps_per_second": round(statistics.mean(rates), 1), **percentiles(latencies)}


def _document_rate(found: Sequence[Ran]) -> float:
    documents: int = sum(each.told["documents"] for each in found)
    seconds: float = sum(each.told["seconds"] for each in found)
    return round(documents / seconds, 1)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", default="8,64")
    parser.add_argument("--seconds", type=float, default=8.0, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="mixed,flood")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--serve", default="", help="further flags for gatehouse serve, in one argument")
    parser.add_argument("--quick", action="store_true", help="a minute: one short round")
    outcome.add_arguments(parser)
    options = parser.parse_args()
    if options.quick:
        options.sessions, options.seconds, options.rounds = "8", 6.0, 1
    say: Callable[[object], None] = (lambda row: None) if options.json else partial(print, flush=True)
    flags = ("--device", options.device, *options.serve.split())
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch, load_processes(2) as clients:
        models = Path(scratch) / "models"
        for shape in ("R2", "R3"):
            write_shape(models, shape)
        file = Path(scratch) / "documents.json"
        file.write_text(json.dumps(random_mix(DOCUMENTS, seed=1).sent), encoding="utf-8")
        if "mixed" in options.only.split(","):
            documents = Documents(model="r3", file=str(file), in_flight=IN_FLIGHT)
            with running_gatehouse(models, *flags) as server:
                for sessions in map(int, options.sessions.split(",")):
                    rows.append(mixed_row(server, clients, documents, sessions, options))
                    say(rows[-1])
        if "flood" in options.only.split(","):
            rows.append(flood_row(models, flags, clients, options))
            say(rows[-1])
    outcome.finish(options, options.device, {"benchmark": "mixed", "device": options.device, "results": rows})


if __name__ == "__main__":
    main()
