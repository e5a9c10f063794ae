"""How the tests come by each kind of store. A new kind adds its maker to `MAKERS` and has the whole suite."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

from gatehouse_server.stores.port import SessionStore
from gatehouse_server.stores.redis import RedisStore
from gatehouse_server.stores.sqlite import SqliteStore

from tests.stores.redis_server import RedisServer


class StoreMaker(Protocol):
    """One underlying store of its own, empty at first, kept in `folder` or beside it.

    `make` opens that same store, again and again; where the store is not shared the one before must be closed. Of
    the clock only the difference between what it shows and what `expire` is told matters. `close` ends everything.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path) -> None: ...

    def make(self, *, clock: Callable[[], float] = time.time) -> SessionStore: ...

    def close(self) -> None: ...


class SqliteMaker:
    """A file."""

    name: ClassVar[str] = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "sessions.db"
        self._made: list[SqliteStore] = []

    def make(self, *, clock: Callable[[], float] = time.time) -> SqliteStore:
        """Opens the file."""
        store = SqliteStore(self._path, clock=clock)
        self._made.append(store)
        return store

    def close(self) -> None:
        """Closes what is still open."""
        for store in self._made:
            store.close()


class RedisMaker:
    """A Redis of its own: it starts in the time of a few writes to a disk."""

    name: ClassVar[str] = "redis"

    def __init__(self, folder: Path) -> None:
        self._server = RedisServer(folder)
        self._made: list[RedisStore] = []

    def make(self, *, clock: Callable[[], float] = time.time) -> RedisStore:
        """Connects to it."""
        store = RedisStore(self._server.url, clock=clock)
        self._made.append(store)
        return store

    def close(self) -> None:
        """Disconnects, and ends the server."""
        for store in self._made:
            store.close()
        self._server.kill()


MAKERS: tuple[type[StoreMaker], ...] = (SqliteMaker, RedisMaker)
