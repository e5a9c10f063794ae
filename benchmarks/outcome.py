"""How every benchmark ends: one line of JSON that names the machine and the day, and, if asked, a file of it."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import torch

RESULTS = Path(__file__).parent / "results"


def hardware(device: str = "cpu") -> dict[str, Any]:
    """What was measured on, and when."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name(0) if device == "cuda" else None,
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "grpcio": grpc.__version__,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every benchmark that ends this way can be told."""
    parser.add_argument("--json", action="store_true", help="print the last line only")
    parser.add_argument("--save", metavar="NAME", help="also write benchmarks/results/NAME.json")


def finish(options: argparse.Namespace, device: str, figures: Mapping[str, Any]) -> None:
    """Writes the file if one was asked for, and prints the last line."""
    outcome = {"hardware": hardware(device), **figures}
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(outcome, indent=1) + "\n"
        (RESULTS / f"{options.save}.json").write_text(text, encoding="utf-8")
    print(json.dumps(outcome), flush=True)


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        parted = (line.partition(":") for line in lines)
        facts = {name.strip(): value.strip() for name, _, value in parted}
    name = facts.get("model name", platform.machine())
    widest = next((kind for kind in ("avx512f", "avx2") if kind in facts.get("flags", "").split()), "")
    return f"{name}, {widest.replace('avx512f', 'AVX-512').replace('avx2', 'AVX2')}" if widest else name
