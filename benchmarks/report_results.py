"""The results that the page on performance is made from, and how to find a row in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.outcome import RESULTS

Row = Mapping[str, Any]

SHAPES = ("R1", "R2")
MAIN = {"server": "gatehouse", "precision": "float32", "compute_threads": 1}


@dataclass(frozen=True, slots=True)
class Results:
    """The files of a folder, by name without its ending."""

    files: Mapping[str, Row]

    @classmethod
    def read(cls, folder: Path = RESULTS) -> Results:
        """All JSON files there."""
        found = sorted(folder.glob("*.json"))
        return cls({file.stem: json.loads(file.read_text(encoding="utf-8")) for file in found})

    def __getitem__(self, name: str) -> Row:
        return self.files[name]

    def get(self, name: str) -> Row | None:
        """A file that need not be there."""
        return self.files.get(name)

    def online(self, shape: str, **facts: Any) -> list[Row]:
        """Rows of `benchmarks.online` for a shape; none if it was not measured."""
        file = self.get(f"online-{shape}")
        return [] if file is None else chosen(file["results"], **facts)

    @property
    def shapes(self) -> list[str]:
        """Those that were measured online."""
        return [shape for shape in SHAPES if f"online-{shape}" in self.files]

    def closed(self, shape: str, sessions: int, regime: str, **facts: Any) -> Row | None:
        """Gatehouse in closed loop; in float32 with one compute thread unless told otherwise."""
        wanted = {**MAIN, **facts, "sessions": sessions, "regime": regime, "loop": "closed"}
        return next(iter(self.online(shape, **wanted)), None)

    def plain(self, shape: str, sessions: int) -> Row | None:
        """The plain server with the better number of threads."""
        rows = self.online(shape, sessions=sessions, server="plain")
        return max(rows, key=lambda row: row["steps_per_second"], default=None)

    def echo(self, shape: str, sessions: int, regime: str) -> Row | None:
        """The bare echo."""
        return next(iter(self.online(shape, sessions=sessions, server="echo", regime=regime)), None)

    def sessions_of(self, shape: str) -> list[int]:
        """The numbers of sessions that were measured."""
        return sorted({row["sessions"] for row in self.online(shape)})

    def engines(self, device: str | None = None) -> list[Row]:
        """Files of `benchmarks.engine`, those of the CPU first; of one device if it is named."""
        found = [file for file in self.files.values() if file.get("benchmark") == "engine"]
        wanted = [file for file in found if device in (None, file.get("device", "cpu"))]
        return sorted(wanted, key=lambda file: str(file.get("device", "cpu")))

    def part(self, name: str, **facts: Any) -> list[Row]:
        """Rows of a file whose results are one list."""
        return chosen(self.files[name]["results"], **facts)


def chosen(rows: Iterable[Row], **facts: Any) -> list[Row]:
    """The rows with these values."""
    return [row for row in rows if all(row.get(name) == value for name, value in facts.items())]


def machine(file: Row) -> str:
    """One line on what was measured on, and when."""
    hardware = file["hardware"]
    if isinstance(hardware, str):
        return hardware
    gpu = f"{hardware['gpu']}, " if hardware["gpu"] else ""
    # A benchmark itself keeps two or three processes busy.
    busy = ", busy with other programs" if hardware["load_average"] > hardware["cores"] + 2 else ""
    return (
        f"{gpu}{hardware['processor']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB, "
        f"{hardware['system']}{busy}; torch {hardware['torch']}, grpcio {hardware['grpcio']}; {hardware['date']}"
    )
