"""Whether sessions that do nothing slow down those that write: up to a million of them, live or packed.

Live ones have a row of the state table, packed ones rest in host memory. Each size is measured in turns with a small
crowd of a thousand beside it, so that ratios hold on a machine that others use, too: a turn of 64 writing sessions, and
a write of one session alone. The garbage collector is set as the server sets it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import CreateSession, Write
from gatehouse_server.sessions.results import SessionView, WriteResult

from benchmarks.hand import Hand, Spent, append, summary
from benchmarks.made_sessions import Writer, exported, imported, new_writer, random_tokens, registry_of
from benchmarks.process_memory import resident_bytes
from benchmarks.session_crowd import WRITING_SESSIONS, fill, fits, turns

FEW = 1_000
Place = Literal["live", "packed"]
Row = dict[str, Any]

_AT_ONCE = 250
_WARM_UP_TURNS = 100
_ROUNDS = 10
_TURNS, _WRITES = 12, 40
_NEVER_SECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Crowd:
    """A lane with idle sessions, and the sessions that write beside them."""

    hand: Hand
    blob: bytes
    model: str
    writers: list[Writer]

    @classmethod
    def of(cls, registry: Registry, most_live: int) -> Crowd:
        """Without idle sessions as yet."""
        limits = SessionLimits(
            max_sessions=2_000_000,
            max_resident_sessions=2_000_000,
            max_live_sessions=most_live + 1_000,
            idle_seconds=_NEVER_SECONDS,
            rest_seconds=_NEVER_SECONDS,
            recent_writes=1,  # so that the table of a million sessions fits the memory of a usual machine
        )
        hand = Hand(registry, limits=limits)
        (model,) = registry.models
        blob = exported(hand, new_writer(hand, model.key))
        writers = imported(hand, blob, _AT_ONCE)
        turns(
            hand, writers, _WARM_UP_TURNS
        )  # the engine's scratch memory, which must not count as the crowd's
        return cls(hand, blob, model.key, writers[:WRITING_SESSIONS])

    def add(self, place: Place, count: int) -> None:
        """So many idle sessions more."""
        if place == "packed":
            fill(self.hand, self.blob, count)
            return
        for _ in range(0, count, _AT_ONCE):
            views = self.hand.all([CreateSession(model=self.model)] * _AT_ONCE, SessionView)
            writes = [_first_write(view) for view in views]
            self.hand.all(writes, WriteResult)

    def singles(self, count: int) -> list[Spent]:
        """So many writes of one session, each alone."""
        return turns(self.hand, self.writers[:1], count)


def measure(folder: Path, place: Place, crowds: Sequence[int]) -> list[Row]:
    """A row for each size of the crowd that memory and time allow."""
    registry = registry_of(folder)
    few = Crowd.of(registry, FEW)
    few.add(place, FEW)
    many = Crowd.of(registry, max(crowds) if place == "live" else FEW)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    empty = resident_bytes()
    rows: list[Row] = []
    idle, filling_seconds = 0, 0.0
    for crowd in crowds:
        if idle and not fits(crowd, idle, resident_bytes() - empty, filling_seconds):
            rows.append(
                {"place": place, "idle_sessions": crowd, "skipped": "it would take too much memory or time"}
            )
            continue
        began_seconds = time.monotonic()
        many.add(place, crowd - idle)
        filling_seconds += time.monotonic() - began_seconds
        idle = crowd
        rows.append({"place": place, "idle_sessions": crowd, **_row(few, many, crowd, empty)})
    return rows


def _row(few: Crowd, many: Crowd, crowd: int, empty: int) -> Row:
    grown = resident_bytes() - empty
    found: dict[str, list[list[Spent]]] = {"turn": [[], []], "write": [[], []]}
    for _ in range(_ROUNDS):
        for number, each in enumerate((few, many)):
            found["turn"][number] += turns(each.hand, each.writers, _TURNS)
            found["write"][number] += each.singles(_WRITES)
    row: Row = {"bytes_per_session": round(grown / crowd)}
    for name, (of_few, of_many) in found.items():
        row[name] = summary(of_many)
        row[f"{name}_beside_{FEW}"] = summary(of_few)
        row[f"{name}_ratio"] = round(_median_cpu(of_many) / _median_cpu(of_few), 3)
    return row


def _first_write(view: SessionView) -> Write:
    return append(view.session_id, view.state, random_tokens(1))


def _median_cpu(spent: Sequence[Spent]) -> float:
    return float(np.median([each.cpu_seconds for each in spent]))
