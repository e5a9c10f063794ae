"""What is wrong with an SQLite store, and what whoever starts the server can do about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gatehouse_server.errors import StoreDefect


@contextmanager
def as_defects(path: Path) -> Iterator[None]:
    """What SQLite and the system raise within it becomes StoreDefect."""
    try:
        yield
    except sqlite3.Error as error:
        raise _defect(path, error) from error
    except OSError as error:
        raise unusable(path, error) from error


def line_of(error: Exception) -> str:
    """What the error says, in one line."""
    return " ".join(str(error).split())


def damaged(path: Path, what: str) -> StoreDefect:
    """The file is ours and cannot be trusted."""
    return StoreDefect(
        f"{path}: is damaged ({' '.join(what.split())}); restore it from a backup, or move it away to begin anew "
        "without the sessions"
    )


def foreign(path: Path) -> StoreDefect:
    """The file is no database."""
    return StoreDefect(
        f"{path}: is not an SQLite database, or its beginning is damaged; name another file, or restore it from a "
        "backup"
    )


def unusable(path: Path, error: OSError) -> StoreDefect:
    """The system refuses the file."""
    return StoreDefect(
        f"{path}: cannot be used ({error.strerror}); let the server read and write the file and its folder, or name "
        "another file"
    )


def _defect(path: Path, error: sqlite3.Error) -> StoreDefect:
    """What SQLite's error means to whoever starts the server. Result codes: https://sqlite.org/rescode.html."""
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreDefect(
            f"{path}: is in use by another server or program; stop that one, name another file, or use Redis, "
            "which servers may share"
        )
    if primary == sqlite3.SQLITE_NOTADB:
        return foreign(path)
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):
        return damaged(path, str(error))
    return StoreDefect(
        f"{path}: cannot be used ({line_of(error)}); let the server read and write the file and its folder, check the "
        "disk, or name another file"
    )
