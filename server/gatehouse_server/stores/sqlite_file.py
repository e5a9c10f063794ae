"""Opening the file of an SQLite store: whose it is, whether it is whole, and its format brought up to date."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gatehouse_server.errors import StoreDefect
from gatehouse_server.stores.padding import PAGE_BYTES
from gatehouse_server.stores.schema import Migration
from gatehouse_server.stores.sqlite_defects import as_defects, damaged, foreign, line_of

APPLICATION_ID = 0x47617465
"""Marks a database as ours: "Gate"."""
LEAST_BYTES = 512
"""The smallest database that is not empty: one page."""
CACHE_KIBIBYTES = 65_536
READ_BYTES = 1_048_576
CHECKPOINT_PAGES = 8192
LOG_BYTES = 67_108_864

Synchronous = Literal["normal", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFile:
    """An open store: SQLite's connection, and our own way into the file, open as long as that.

    When a process closes a file, the kernel frees all locks that it has on it, SQLite's too: so ours closes last.
    """

    connection: sqlite3.Connection
    descriptor: int

    def close(self) -> None:
        """Lets go of the file. Never raises."""
        with suppress(
            sqlite3.Error
        ):  # what was applied is in the log at least, and read from there at the next start
            self.connection.close()
        with suppress(OSError):
            os.close(self.descriptor)


def open_file(path: Path, *, synchronous: Synchronous, migrations: Sequence[Migration]) -> StoreFile:
    """The database at `path`, checked, locked against everybody else and in the present format.

    A missing or empty file becomes a new store. Raises StoreDefect for everything that is not a whole store of ours.
    """
    file = _place(path)
    with ExitStack() as undo, as_defects(path):
        # No waiting for a lock: whoever holds it is a server, and keeps it.
        connection = sqlite3.connect(str(file), timeout=0.0, isolation_level=None, check_same_thread=False)
        undo.callback(connection.close)
        _lock(connection, synchronous=synchronous)
        descriptor = os.open(file, os.O_RDONLY)
        undo.pop_all()
        store = StoreFile(connection=connection, descriptor=descriptor)
        undo.callback(store.close)
        _recognise(connection, path, known=len(migrations))
        _read_through(descriptor)
        _check(connection, path)
        # Only now is it known to be ours. A new store is made before the log is switched on: a database file
        # without our mark is then never one of ours that lost its log.
        for name in (file, _log(file)):
            if name.exists():
                name.chmod(0o600)
        _migrate(connection, path, migrations)
        _switch_log_on(connection)
        undo.pop_all()
    return store


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is read once at the start: the secret, and how many records and tombstones there are."""

    secret: bytes
    records: int
    tombstones: int


def read_facts(connection: sqlite3.Connection, path: Path) -> Facts:
    """Counting reads an index. Raises StoreDefect when the tables are not as they should be."""
    with as_defects(path):
        secret = connection.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()
        (records,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
        (tombstones,) = connection.execute("SELECT count(*) FROM tombstones").fetchone()
    if secret is None:
        raise damaged(path, "its secret is missing")
    return Facts(secret=secret[0], records=records, tombstones=tombstones)


def _place(path: Path) -> Path:
    """The real file behind `path`, made when it is missing so that nobody else may ever read it."""
    if not path.parent.is_dir():
        raise StoreDefect(f"{path}: the folder {path.parent} does not exist; make it, or name another file")
    with as_defects(path):
        file = path.resolve()
        found = file.stat() if file.exists() else None
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise StoreDefect(f"{path}: is not a file; name a file for the state store")
        if found is not None and 0 < found.st_size < LEAST_BYTES:  # SQLite takes a single byte for nothing
            raise foreign(path)
        log = _log(file)
        if (found is None or found.st_size == 0) and log.exists() and log.stat().st_size > 0:
            raise StoreDefect(
                f"{path}: is missing or empty, but its log {log} is not; restore the file from a backup, or remove "
                "the log to begin anew without the sessions"
            )
        if found is None:
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return file


def _lock(connection: sqlite3.Connection, *, synchronous: Synchronous) -> None:
    """Takes the file for as long as the connection is open; the kernel frees it when the process dies.

    `page_size` counts for a new file alone.
    """
    for setting in (
        "locking_mode = EXCLUSIVE",
        f"page_size = {PAGE_BYTES}",
        f"cache_size = -{CACHE_KIBIBYTES}",
        "secure_delete = ON",
        "temp_store = MEMORY",
        f"synchronous = {synchronous}",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"journal_size_limit = {LOG_BYTES}",
    ):
        connection.execute(f"PRAGMA {setting}").fetchall()
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("ROLLBACK")  # Keeps the lock; a commit would write the first page of an empty file.


def _recognise(connection: sqlite3.Connection, path: Path, *, known: int) -> None:
    """Refuses what is not ours or is of a newer format."""
    if _number(connection, "page_count") == 0:
        return
    if _number(connection, "application_id") != APPLICATION_ID:
        raise StoreDefect(f"{path}: is a database of another program; name another file")
    version = _number(connection, "user_version")
    if version > known:
        raise StoreDefect(
            f"{path}: was written by a newer server (format {version}, this one knows up to {known}); start that "
            "one, or name another file"
        )


def _read_through(descriptor: int) -> None:
    """Brings the file into the system's cache: in order that is much quicker than in the order of the check."""
    buffer = bytearray(READ_BYTES)
    while os.readv(descriptor, [buffer]):
        pass


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise damaged(path, str(found))


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Each step is one transaction: a server that dies here leaves a whole store of a format it knows."""
    for version in range(_number(connection, "user_version"), len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            migrations[version](connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise StoreDefect(
                f"{path}: could not be brought from format {version} to {version + 1} ({line_of(error)}) and is as it "
                "was; free disk space or mend what is wrong, then start again"
            ) from error


def _switch_log_on(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"the file system allows no write-ahead log (journal mode {mode})")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    with closing(connection.execute(f"PRAGMA {pragma}")) as cursor:
        return int(cursor.fetchone()[0])


def _log(file: Path) -> Path:
    return file.with_name(file.name + "-wal")
