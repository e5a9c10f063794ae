"""Files of SQLite stores, as the tests find and make them."""

from pathlib import Path

import pytest
from gatehouse_server.errors import StoreDefect
from gatehouse_server.stores.sqlite import SqliteStore

from tests.stores.records import create


def log_of(path: Path) -> Path:
    """The write-ahead log beside a store."""
    return path.with_name(path.name + "-wal")


def defect(path: Path, **settings: object) -> str:
    """The one line that opening `path` raises."""
    with pytest.raises(StoreDefect) as raised:
        SqliteStore(path, **settings)  # type: ignore[arg-type]
    line = str(raised.value)
    assert line.startswith(f"{path}: ")
    assert len(line.splitlines()) == 1
    return line


def filled(path: Path, records: int = 200) -> bytes:
    """A store with that many records, closed: the bytes of its file."""
    store = SqliteStore(path)
    create(store, *(f"s{index:04}" for index in range(records)))
    store.close()
    return path.read_bytes()
