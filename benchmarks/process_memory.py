"""What a process and a machine have of memory, as Linux tells it."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path


def resident_bytes() -> int:
    """What this process holds of the machine's memory, garbage and free memory of its allocator given back before."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _field(Path("/proc/self/status"), "VmRSS")


def available_bytes() -> int:
    """What processes could still take without swapping."""
    return _field(Path("/proc/meminfo"), "MemAvailable")


def _field(path: Path, name: str) -> int:
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{path} has no {name}")
