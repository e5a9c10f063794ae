"""Many known sessions that rest in host memory, and 64 that write: what one costs, and whether the others feel it.

A turn is what the engine does for one append of each of the 64 sessions, housekeeping included. The garbage collector
is set as the server sets it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import ImportSession
from gatehouse_server.sessions.results import SessionView, WriteResult

from benchmarks.hand import Hand, Spent, append, summary, timed
from benchmarks.made_sessions import Writer, exported, imported, new_writer, random_tokens, registry_of
from benchmarks.process_memory import available_bytes, resident_bytes

CROWDS = (0, 100_000, 1_000_000)
WRITING_SESSIONS = 64
EXPIRING_SESSIONS = 20_000

TURNS = 300
_AT_ONCE = 64
_MOST_BYTES = 12 * 2**30
_MOST_SECONDS = 900.0
_NEVER_SECONDS = 1e9

Row = dict[str, Any]


def measure(folder: Path) -> list[Row]:
    """A row for each size of the crowd that memory and time allow."""
    registry = registry_of(folder)
    (model,) = registry.models
    hand = Hand(
        registry,
        limits=SessionLimits(
            max_sessions=2_000_000, max_resident_sessions=2_000_000, idle_seconds=_NEVER_SECONDS
        ),
    )
    blob = exported(hand, new_writer(hand, model.key))
    writers = imported(hand, blob, WRITING_SESSIONS)
    turns(hand, writers, TURNS // 4)
    # As app.composition does.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    empty, began = resident_bytes(), time.monotonic()
    rows: list[Row] = []
    known = 0
    for crowd in CROWDS:
        if known and not fits(crowd, known, resident_bytes() - empty, time.monotonic() - began):
            rows.append({"known_sessions": crowd, "skipped": "it would take too much memory or time"})
            continue
        with _collections() as while_filling:
            fill_spent = fill(hand, blob, crowd - known)
        known = crowd
        taken = resident_bytes() - empty
        with _collections() as while_writing:
            spent = turns(hand, writers, TURNS)
        full, _ = timed(gc.collect)
        rows.append(
            {
                "known_sessions": crowd,
                "host_bytes_per_session": round(taken / crowd) if crowd else 0,
                "turn": summary(spent),
                "collections_while_writing_ms": _longest(while_writing),
                "arrivals": summary(fill_spent) if fill_spent else {},
                "collections_while_arriving_ms": _longest(while_filling),
                "full_collection_ms": round(1000 * full.seconds, 1),
            }
        )
    return [*rows, _expiry(registry, blob)]


def _expiry(registry: Registry, blob: bytes) -> Row:
    """Many sessions that were made in the same moment and are not used: the turn in which their time is up."""
    hand = Hand(registry, limits=SessionLimits())
    fill(hand, blob, EXPIRING_SESSIONS)
    spent, _ = timed(hand.expire)
    return {
        "expiring_sessions": EXPIRING_SESSIONS,
        "left_after_one_turn": hand.fill.packed_sessions,
        "turn": summary([spent]),
    }


def fits(crowd: int, known: int, taken_bytes: int, taken_seconds: float) -> bool:
    """Judged by what the sessions so far took."""
    needed_bytes = taken_bytes / known * (crowd - known)
    needed_seconds = taken_seconds / known * (crowd - known)
    return (
        taken_bytes + needed_bytes < _MOST_BYTES
        and needed_bytes * 1.2 < available_bytes()
        and needed_seconds < _MOST_SECONDS
    )


def fill(hand: Hand, blob: bytes, count: int) -> list[Spent]:
    """So many sessions more, imported by 64 a turn; the turns' times."""
    operation = ImportSession(blob=blob)
    return [
        timed(lambda: hand.all([operation] * _AT_ONCE, SessionView))[0] for _ in range(0, count, _AT_ONCE)
    ]


def turns(hand: Hand, writers: Sequence[Writer], count: int) -> list[Spent]:
    """So many turns, in each of which every session appends a token."""
    spent = []
    for _ in range(count):
        writes = [append(writer.session_id, writer.state, random_tokens(1)) for writer in writers]
        each, results = timed(partial(hand.all, writes, WriteResult))
        spent.append(each)
        for writer, result in zip(writers, results, strict=True):
            writer.state = result.state
    return spent


@contextmanager
def _collections() -> Iterator[list[tuple[int, float]]]:
    """Generation and seconds of each garbage collection meanwhile."""
    seen: list[tuple[int, float]] = []
    began = 0.0

    def listen(phase: str, facts: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            seen.append((facts["generation"], time.perf_counter() - began))

    gc.callbacks.append(listen)
    try:
        yield seen
    finally:
        gc.callbacks.remove(listen)


def _longest(seen: Sequence[tuple[int, float]]) -> dict[str, float]:
    """The longest collection of each generation, by its number."""
    longest: dict[str, float] = {}
    for generation, seconds in seen:
        name = str(generation)
        longest[name] = max(longest.get(name, 0.0), round(1000 * seconds, 1))
    return longest
