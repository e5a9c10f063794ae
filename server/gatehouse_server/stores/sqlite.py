"""The state store in one SQLite file, for one server on one machine."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gatehouse_server.errors import StoreDefect
from gatehouse_server.stores.port import Change, StoredSession, StoreFailure, Summary, Tombstone
from gatehouse_server.stores.schema import MIGRATIONS, Migration
from gatehouse_server.stores.sqlite_file import Synchronous, open_file, read_facts
from gatehouse_server.stores.sqlite_records import Records

TOMBSTONE_SECONDS = 86_400.0
MOST_TOMBSTONES = 1_000_000


class SqliteStore:
    """A `SessionStore` in the file `path`, which no other process may use meanwhile.

    What was applied survives the death of the process; with `full` it survives the death of the machine too, at the
    price of a flush to the disk for each batch. Raises StoreDefect.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Synchronous = "normal",
        clock: Callable[[], float] = time.time,
        migrations: Sequence[Migration] = MIGRATIONS,
        most_tombstones: int = MOST_TOMBSTONES,
    ) -> None:
        self._path = path
        self._clock = clock
        self._most_tombstones = most_tombstones
        self._closed = False
        self._file = open_file(path, synchronous=synchronous, migrations=migrations)
        self._connection = self._file.connection
        try:
            facts = read_facts(self._connection, path)
        except StoreDefect:
            self.close()
            raise
        self._secret = facts.secret
        self._records = facts.records
        self._tombstones = facts.tombstones

    @property
    def shared(self) -> bool:
        return False

    @property
    def secret(self) -> bytes:
        return self._secret

    def apply(self, changes: Sequence[Change]) -> list[Summary | None]:
        with self._transaction() as records:
            return [records.apply(change) for change in changes]

    def claim(
        self, session_ids: Sequence[str], *, owner: str, incarnation: int
    ) -> list[StoredSession | Tombstone | None]:
        with self._transaction() as records:
            return [records.claim(each, owner=owner, incarnation=incarnation) for each in session_ids]

    def look(self, session_ids: Sequence[str]) -> list[Summary | Tombstone | None]:
        with self._transaction() as records:
            return [records.look(each) for each in session_ids]

    def remove(
        self, session_id: str, tombstone: Tombstone, *, incarnation: int | None = None
    ) -> Summary | Tombstone | None:
        now = self._clock()
        with self._transaction() as records:
            return records.remove(session_id, tombstone, incarnation=incarnation, now_unix_seconds=now)

    def after(self, session_id: str, limit: int) -> list[Summary]:
        with self._transaction() as records:
            return records.after(session_id, limit)

    def expire(self, now_unix_seconds: float, limit: int) -> int:
        with self._transaction() as records:
            expired = records.expire(now_unix_seconds, limit)
            records.forget_made_before(now_unix_seconds - TOMBSTONE_SECONDS)
            beyond = self._tombstones + records.tombstones - self._most_tombstones
            if beyond > 0:
                records.forget_oldest(beyond)
            return expired

    def count(self) -> int:
        return self._records

    def probe(self) -> None:
        with self._transaction() as records:
            records.probe()

    def scrub(self) -> None:
        # Erasing overwrites (secure_delete), but in the log first: what was erased stands in the database, and in
        # older pages of the log, until the log is moved into the database and cut to nothing.
        try:
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        if busy:
            raise StoreFailure(f"{self._path}: the log could not be emptied")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._file.close()

    @contextmanager
    def _transaction(self) -> Iterator[Records]:
        """Everything in it is done, or nothing; what SQLite raises becomes StoreFailure."""
        try:
            records = Records(self._connection.cursor())
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield records
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:  # SQLite has rolled back by itself after some failures
                    self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._failure(error) from error
        self._records += records.records
        self._tombstones += records.tombstones

    def _failure(self, error: sqlite3.Error) -> StoreFailure:
        return StoreFailure(" ".join(f"{self._path}: {error}".split()))
