"""The tables of the SQLite store, and how a file of an older format becomes one of the present format.

The format of a file is its `user_version`: how many of the migrations it has been through.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable

Migration = Callable[[sqlite3.Connection], None]
"""One step from a format to the next. Runs inside a transaction, which `executescript` would end: use `execute`."""


def first_format(connection: sqlite3.Connection) -> None:
    """Makes the tables in an empty database, and the secret.

    A session's head and parts hang on a number of ours and not on its identifier, which may be long. `size_bytes` is
    kept, since summing it up would read all parts. `padding`: see `padding_bytes`.
    """
    connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
    connection.execute(
        """CREATE TABLE sessions (
            number INTEGER PRIMARY KEY,
            session_id TEXT NOT NULL UNIQUE,
            model TEXT NOT NULL,
            owner TEXT NOT NULL,
            incarnation INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            position INTEGER NOT NULL,
            expires_unix_seconds REAL NOT NULL,
            request_id TEXT,
            size_bytes INTEGER NOT NULL
        )"""
    )
    connection.execute(
        """CREATE TABLE heads (
            session INTEGER PRIMARY KEY,
            padding BLOB NOT NULL,
            head BLOB NOT NULL
        )"""
    )
    connection.execute("CREATE INDEX sessions_by_expiry ON sessions (expires_unix_seconds)")
    connection.execute(
        """CREATE TABLE parts (
            session INTEGER NOT NULL,
            name TEXT NOT NULL,
            padding BLOB NOT NULL,
            value BLOB NOT NULL,
            PRIMARY KEY (session, name)
        )"""
    )
    connection.execute(
        """CREATE TABLE tombstones (
            session_id TEXT PRIMARY KEY,
            why TEXT NOT NULL,
            request_id TEXT,
            made_unix_seconds REAL NOT NULL
        ) WITHOUT ROWID"""
    )
    connection.execute("CREATE INDEX tombstones_by_age ON tombstones (made_unix_seconds)")
    made = str(time.time()).encode("ascii")
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?)", [("secret", secrets.token_bytes(32)), ("made_unix_seconds", made)]
    )


MIGRATIONS: tuple[Migration, ...] = (first_format,)
