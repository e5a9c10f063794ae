"""Opens the state store that the settings name."""

from __future__ import annotations

import time
from pathlib import Path

import structlog

from gatehouse_server.app.failure import CannotStartError
from gatehouse_server.errors import StoreDefect
from gatehouse_server.settings import Settings
from gatehouse_server.stores.port import SessionStore

_log = structlog.get_logger(__name__)

_SQLITE = "sqlite:"
_REDIS = ("redis://", "rediss://", "unix://")


def kind_of(settings: Settings) -> str:
    """What keeps sessions: `memory`, `sqlite` or `redis`."""
    name = settings.state_store
    return "redis" if name.startswith(_REDIS) else name.partition(":")[0]


def check_store(settings: Settings) -> None:
    """Raises CannotStartError when the settings name no store, or ask of it what it cannot do."""
    name = settings.state_store
    if name == "memory":
        if settings.durability == "sync":
            raise CannotStartError(
                "--durability sync needs something to store to. Name it with --state-store sqlite:PATH or redis://..."
            )
        return
    if not name.startswith(_REDIS) and not (name.startswith(_SQLITE) and len(name) > len(_SQLITE)):
        kind = name.partition(":")[0]
        raise CannotStartError(
            f"--state-store: {kind!r} is none of memory, sqlite:PATH, redis://HOST:PORT/DB, rediss://... and unix://..."
        )


def open_store(settings: Settings) -> SessionStore | None:
    """The store, or None for `memory`, with a line in the log. May take seconds: a file is checked as a whole.

    Raises CannotStartError.
    """
    began_seconds = time.perf_counter()
    store = _open(settings)
    if store is not None:
        _log.info(
            "state store open",
            # Not the whole name: it may hold a password.
            kind=kind_of(settings),
            durability=settings.durability,
            sessions=store.count(),
            seconds=round(time.perf_counter() - began_seconds, 3),
        )
    return store


def _open(settings: Settings) -> SessionStore | None:
    check_store(settings)
    name = settings.state_store
    if name == "memory":
        return None
    try:
        if name.startswith(_SQLITE):
            # Imported late: a server without a store needs neither.
            from gatehouse_server.stores.sqlite import SqliteStore

            path = Path(name.removeprefix(_SQLITE))
            return SqliteStore(path, synchronous="full" if settings.durability == "sync" else "normal")
        from gatehouse_server.stores.redis import RedisStore

        return RedisStore(name)
    except StoreDefect as defect:
        raise CannotStartError(f"--state-store: {defect}") from defect
