"""What a session of 50 tokens takes, its last 8 written one by one: in the state table and in stores.

Memory is the growth of this process's resident memory, divided by the sessions that made it grow. What the state table
gave back after a rest is kept for the next sessions, not returned to the operating system.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.results import WriteResult
from gatehouse_server.stores.port import SessionStore
from gatehouse_server.stores.redis import RedisStore
from gatehouse_server.stores.sqlite import SqliteStore

from benchmarks.hand import Hand, append
from benchmarks.made_sessions import (
    RECENT_WRITES,
    TAPE_STEPS,
    Writer,
    exported,
    imported,
    new_writer,
    random_tokens,
    registry_of,
)
from benchmarks.process_memory import resident_bytes
from benchmarks.redis_process import running_redis, used_bytes

LIVE_SESSIONS = 5_000
STORED_SESSIONS = 10_000

_AT_ONCE = 250
_NEVER_SECONDS = 1e9

Row = dict[str, Any]


def measure(folder: Path) -> list[Row]:
    """Bytes per session in each place but host memory, which `session_crowd` measures."""
    registry = registry_of(folder)
    rows = _live(registry)
    with tempfile.TemporaryDirectory() as scratch, running_redis(Path(scratch)) as url:
        file = Path(scratch) / "sessions.db"
        _fill(registry, SqliteStore(file))
        sizes = [path.stat().st_size for path in file.parent.glob("sessions.db*")]
        rows.append(_row("SQLite, file", STORED_SESSIONS, sum(sizes)))
        empty = used_bytes(url)
        _fill(registry, RedisStore(url))
        rows.append(_row("Redis, used_memory", STORED_SESSIONS, used_bytes(url) - empty))
    return rows


def _live(registry: Registry) -> list[Row]:
    (model,) = registry.models
    hand = Hand(
        registry, limits=SessionLimits(max_live_sessions=LIVE_SESSIONS + 100, idle_seconds=_NEVER_SECONDS)
    )
    warm = new_writer(hand, model.key)
    warm.delete()
    blob = _blob_before_last_writes(hand, model.key)
    before = resident_bytes()
    for _ in range(0, LIVE_SESSIONS, _AT_ONCE):
        _append_singly(hand, imported(hand, blob, _AT_ONCE))
    live = resident_bytes() - before
    rows = [
        _row("live", LIVE_SESSIONS, live),
        _row("live, of that states", LIVE_SESSIONS, hand.fill.state_bytes),
    ]
    hand.rest()
    rows.append(_row("live, then packed", LIVE_SESSIONS, resident_bytes() - before))
    rows.append(_row("packed, content alone", LIVE_SESSIONS, hand.fill.packed_bytes))
    return rows


def _blob_before_last_writes(hand: Hand, model: str) -> bytes:
    """A session that lacks its last writes: whoever imports it writes them, so that it holds their states."""
    writer = new_writer(hand, model)
    writer.write(random_tokens(1), back=RECENT_WRITES + 1)
    return exported(hand, writer)


def _append_singly(hand: Hand, writers: Sequence[Writer]) -> None:
    """Every session writes a token as often as it keeps writes, all of them together."""
    for _ in range(RECENT_WRITES):
        writes = [append(writer.session_id, writer.state, random_tokens(1)) for writer in writers]
        for writer, result in zip(writers, hand.all(writes, WriteResult), strict=True):
            writer.state = result.state


def _fill(registry: Registry, store: SessionStore) -> None:
    (model,) = registry.models
    maker = Hand(registry, limits=SessionLimits(max_live_sessions=10))
    blob = exported(maker, new_writer(maker, model.key))
    hand = Hand(registry, limits=SessionLimits(max_live_sessions=10), store=store)
    for _ in range(0, STORED_SESSIONS, _AT_ONCE):
        imported(hand, blob, _AT_ONCE)
    hand.leave()


def _row(place: str, sessions: int, total_bytes: int) -> Row:
    return {
        "place": place,
        "sessions": sessions,
        "tape_steps": TAPE_STEPS,
        "bytes_per_session": round(total_bytes / sessions),
    }
