"""Everything that needs a GPU, in one call of less than ten minutes: its tests, then its benchmarks.

    python -m benchmarks.gpu --json --out FOLDER

Runs the tests marked `gpu`, then `benchmarks.engine` (batches up to 4096 in every precision, and reproducible),
`benchmarks.online`, `benchmarks.offline` and `benchmarks.mixed` on the GPU, one after the other, each in processes of
its own and with a limit of time; the next one begins whatever became of the one before. FOLDER gets
`NAME.json` of each with the hardware named, `NAME.log` of each that failed, and `gpu.json` with all of it. The last
line of standard output is JSON; the exit code is 0 when all of it was measured and no test failed.

`--device cpu --quick` tries the command itself on a machine without a GPU: the tests are skipped and counted as such.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import outcome

ROOT = Path(__file__).parent.parent
BUDGET_SECONDS = 585.0
_LARGE_TICKS = "--max-sessions-per-tick 4096"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A command and how long it may take. Its last line of standard output is JSON, but for the tests."""

    name: str
    arguments: tuple[str, ...]
    limit_seconds: float

    @property
    def command(self) -> list[str]:
        """What to run."""
        return [sys.executable, "-m", *self.arguments]


def parts_of(device: str, *, quick: bool, report: Path) -> list[Part]:
    """The parts in their order; `report` is where the tests leave what became of them."""
    # Warnings of a GPU's torch are told; elsewhere they are errors, since nobody could run these tests to see them.
    tests = ("pytest", "-m", "gpu", "tests/gpu", "-q", "-W", "default", f"--junitxml={report}")
    of_all = ("--json", "--device", device)
    if quick:
        variants = "float32" if device == "cpu" else "float32,bfloat16"
        return [
            Part(name="tests", arguments=tests, limit_seconds=150),
            _benchmark("engine", 120, *of_all, "--quick", "--shapes", "R2", "--variants", variants),
            _benchmark("online", 120, *of_all, "--quick", "--shapes", "R2", "--regimes", "multiplexed,echo"),
            _benchmark("offline", 120, *of_all, "--quick", "--mixes", "R3"),
            _benchmark("mixed", 120, *of_all, "--quick", "--only", "mixed"),
        ]
    short = ("--turns", "2", "--turn-seconds", "0.1")
    batches = ("--batches", "1,8,64,256,1024,4096")
    rounded = "int8" if device == "cpu" else "tf32,bfloat16,float16"
    engine = (*of_all, *batches, *short, "--shapes", "R1,R2", "--most-seconds", "125")
    online = (*of_all, "--shapes", "R1", "--rounds", "1", "--seconds", "1.5")
    few = ("--batches", "1,256,4096", "--shapes", "R1", "--variants", "float32+reproducible")
    return [
        Part(name="tests", arguments=tests, limit_seconds=180),
        _benchmark("engine", 145, *engine, "--variants", f"float32,{rounded}"),
        _benchmark("engine_reproducible", 30, *of_all, *short, *few),
        _benchmark("online", 75, *online, "--sessions", "1,64,256", "--regimes", "streams,multiplexed,echo"),
        _benchmark(
            "online_large",
            45,
            *(*online, "--sessions", "1024,4096", "--regimes", "multiplexed", "--clients", "4"),
            *("--serve", _LARGE_TICKS),
        ),
        _benchmark(
            "offline", 58, *of_all, "--rounds", "1", "--seconds", "5", "--documents", "400", "--mixes", "R3"
        ),
        _benchmark("mixed", 47, *of_all, "--rounds", "1", "--seconds", "5", "--only", "mixed"),
    ]


def _benchmark(name: str, limit_seconds: float, *arguments: str) -> Part:
    module = f"benchmarks.{name.partition('_')[0]}"
    return Part(name=name, arguments=(module, *arguments), limit_seconds=limit_seconds)


def run(part: Part, out: Path, left_seconds: float) -> Row:
    """Runs one part. What it said is kept in a file if it failed or took too long."""
    began = time.monotonic()
    limit = min(part.limit_seconds, left_seconds)
    with (out / f"{part.name}.log").open("w+", encoding="utf-8") as log:
        # A group of its own: a part that takes too long is ended with the servers that it started.
        process = subprocess.Popen(
            part.command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return {"failure": f"took longer than {limit:.0f} s, see {log.name}", "seconds": round(limit, 1)}
        row: Row = {"seconds": round(time.monotonic() - began, 1)}
        if process.returncode != 0:
            log.write(said)
            return row | {"failure": f"exit code {process.returncode}, see {log.name}"}
    Path(log.name).unlink()
    if part.name != "tests":
        row["figures"] = json.loads(said.splitlines()[-1])
        text = json.dumps(row["figures"], indent=1) + "\n"
        (out / f"{part.name}.json").write_text(text, encoding="utf-8")
    return row


def counts_of(report: Path) -> Row:
    """How many tests there were, failed and were skipped."""
    if not report.exists():
        return {}
    counts = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in ET.parse(report).getroot().iter("testsuite"):
        for name in counts:
            counts[name] += int(suite.get(name, 0))
    return dict(counts)


def main() -> int:
    """Runs everything and tells what became of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the last line only")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results, made if need be")
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="a few minutes: the smallest part of everything")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here; --device cpu --quick tries the command without one")
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    report, ends = out / "tests.xml", time.monotonic() + BUDGET_SECONDS
    report.unlink(missing_ok=True)
    results: dict[str, Row] = {}
    for part in parts_of(options.device, quick=options.quick, report=report):
        results[part.name] = run(part, out, max(1.0, ends - time.monotonic()))
        if part.name == "tests":
            results["tests"] |= counts_of(report)
        if not options.json:
            shown = {key: value for key, value in results[part.name].items() if key != "figures"}
            print(part.name, shown, flush=True)
    failed = sorted(name for name, row in results.items() if "failure" in row)
    figures = {
        "benchmark": "gpu",
        "device": options.device,
        "hardware": outcome.hardware(options.device),
        "failed": failed,
        "results": results,
    }
    (out / "gpu.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
