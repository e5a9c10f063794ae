"""Records as rows: what the operations of the SQLite store do inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gatehouse_server.stores.padding import padding_bytes
from gatehouse_server.stores.port import Change, StoredSession, Summary, Tombstone

_SUMMARY = (
    "session_id, model, owner, incarnation, revision, position, expires_unix_seconds, request_id, size_bytes"
)
_RECORD = f"SELECT number, {_SUMMARY} FROM sessions WHERE session_id = ?"
_PROBE_BYTES = 65_536


class Records:
    """The tables, seen from within one transaction.

    `records` and `tombstones` count how many more there are than before it, to be believed once it is committed.
    """

    __slots__ = ("_cursor", "records", "tombstones")

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self.records = 0
        self.tombstones = 0

    def apply(self, change: Change) -> Summary | None:
        """The change's own summary when it holds now, else the one that stands there."""
        found = self._find(change.summary.session_id)
        if found is None:
            if not change.creates:
                return None
            self._create(change)
            return change.summary
        number, standing = found
        wanted = change.summary
        if (standing.incarnation, standing.owner) != (wanted.incarnation, wanted.owner):
            return standing
        if standing.revision > wanted.revision:
            return wanted if change.creates else standing
        if change.follows is not None and standing.revision not in (*change.follows, wanted.revision):
            return standing
        self._replace(number, standing, change)
        return wanted

    def claim(self, session_id: str, *, owner: str, incarnation: int) -> StoredSession | Tombstone | None:
        """The whole record, after it became `owner`'s."""
        found = self._find(session_id)
        if found is None:
            return self._tombstone(session_id)
        number, summary = found
        if summary.owner != owner:
            summary = replace(summary, owner=owner, incarnation=max(incarnation, summary.incarnation + 1))
            self._cursor.execute(
                "UPDATE sessions SET owner = ?, incarnation = ? WHERE number = ?",
                (summary.owner, summary.incarnation, number),
            )
        (head,) = self._cursor.execute("SELECT head FROM heads WHERE session = ?", (number,)).fetchone()
        parts = self._cursor.execute("SELECT name, value FROM parts WHERE session = ?", (number,))
        return StoredSession(summary=summary, head=head, parts=dict(parts))

    def look(self, session_id: str) -> Summary | Tombstone | None:
        """What stands under the identifier."""
        found = self._find(session_id)
        return self._tombstone(session_id) if found is None else found[1]

    def remove(
        self, session_id: str, tombstone: Tombstone, *, incarnation: int | None, now_unix_seconds: float
    ) -> Summary | Tombstone | None:
        """What stood under the identifier; a record of that incarnation is gone."""
        found = self._find(session_id)
        if found is None:
            return self._tombstone(session_id)
        number, summary = found
        if incarnation is None or incarnation == summary.incarnation:
            self._erase(number, session_id, tombstone, now_unix_seconds)
        return summary

    def after(self, session_id: str, limit: int) -> list[Summary]:
        """Text is kept as UTF-8 and compared by its bytes, SQLite's own way."""
        rows = self._cursor.execute(
            f"SELECT {_SUMMARY} FROM sessions WHERE session_id > ? ORDER BY session_id LIMIT ?",
            (session_id, limit),
        )
        return [_summary(row) for row in rows]

    def expire(self, now_unix_seconds: float, limit: int) -> int:
        """Erases those that are due, the longest due ones first."""
        due = self._cursor.execute(
            "SELECT number, session_id FROM sessions WHERE expires_unix_seconds <= ? "
            "ORDER BY expires_unix_seconds LIMIT ?",
            (now_unix_seconds, limit),
        ).fetchall()
        for number, session_id in due:
            self._erase(number, session_id, Tombstone(why="SESSION_EXPIRED"), now_unix_seconds)
        return len(due)

    def forget_made_before(self, unix_seconds: float) -> None:
        """Takes away tombstones by their age."""
        self._cursor.execute("DELETE FROM tombstones WHERE made_unix_seconds < ?", (unix_seconds,))
        self.tombstones -= self._cursor.rowcount

    def forget_oldest(self, number: int) -> None:
        """Takes away that many tombstones."""
        self._cursor.execute(
            "DELETE FROM tombstones WHERE session_id IN "
            "(SELECT session_id FROM tombstones ORDER BY made_unix_seconds LIMIT ?)",
            (number,),
        )
        self.tombstones -= self._cursor.rowcount

    def probe(self) -> None:
        """Puts as much as a session may take in the place of what was put there before."""
        # Random, since SQLite writes nothing where the same stands already.
        self._cursor.execute("INSERT OR REPLACE INTO meta VALUES ('probe', randomblob(?))", (_PROBE_BYTES,))

    def _find(self, session_id: str) -> tuple[int, Summary] | None:
        row = self._cursor.execute(_RECORD, (session_id,)).fetchone()
        return None if row is None else (row[0], _summary(row[1:]))

    def _tombstone(self, session_id: str) -> Tombstone | None:
        row = self._cursor.execute(
            "SELECT why, request_id FROM tombstones WHERE session_id = ?", (session_id,)
        ).fetchone()
        return None if row is None else Tombstone(why=row[0], request_id=row[1])

    def _create(self, change: Change) -> None:
        summary = change.summary
        self._cursor.execute("DELETE FROM tombstones WHERE session_id = ?", (summary.session_id,))
        self.tombstones -= self._cursor.rowcount
        self._cursor.execute(
            f"INSERT INTO sessions ({_SUMMARY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                summary.session_id,
                summary.model,
                summary.owner,
                summary.incarnation,
                summary.revision,
                summary.position,
                summary.expires_unix_seconds,
                summary.request_id,
                len(change.head) + _length(change.parts.values()),
            ),
        )
        number = self._cursor.lastrowid
        assert number is not None
        self._cursor.execute(
            "INSERT INTO heads VALUES (?, zeroblob(?), ?)",
            (number, padding_bytes(len(change.head)), change.head),
        )
        for name, value in change.parts.items():
            self._insert_part(number, name, value)
        self.records += 1

    def _replace(self, number: int, standing: Summary, change: Change) -> None:
        summary = change.summary
        gone = self._put_and_drop(number, change)
        (head_bytes,) = self._cursor.execute(
            "SELECT length(head) FROM heads WHERE session = ?", (number,)
        ).fetchone()
        size_bytes = (
            standing.size_bytes - head_bytes - gone + len(change.head) + _length(change.parts.values())
        )
        self._cursor.execute(
            "UPDATE sessions SET model = ?, revision = ?, position = ?, expires_unix_seconds = ?, request_id = ?, "
            "size_bytes = ? WHERE number = ?",
            (
                summary.model,
                summary.revision,
                summary.position,
                summary.expires_unix_seconds,
                summary.request_id,
                size_bytes,
                number,
            ),
        )
        self._cursor.execute(
            "UPDATE heads SET padding = zeroblob(?), head = ? WHERE session = ?",
            (padding_bytes(len(change.head)), change.head, number),
        )

    def _put_and_drop(self, number: int, change: Change) -> int:
        """How many bytes of parts are gone, replaced ones too.

        A new part takes the row of a dropped one: most changes drop a part for one of the same length, which SQLite
        then writes over it, and no page is freed or taken.
        """
        standing: dict[str, int] = {}
        gone = 0
        for name in (*change.dropped, *change.parts):
            row = self._cursor.execute(
                "SELECT rowid, length(value) FROM parts WHERE session = ? AND name = ?", (number, name)
            ).fetchone()
            if row is not None and name not in standing:
                standing[name] = row[0]
                gone += row[1]
        rows = {name: standing.pop(name) for name in change.parts if name in standing}
        for name, value in change.parts.items():
            row_number = rows.get(name)
            if row_number is None and standing:
                _, row_number = standing.popitem()
            if row_number is None:
                self._insert_part(number, name, value)
            else:
                self._cursor.execute(
                    "UPDATE parts SET name = ?, padding = zeroblob(?), value = ? WHERE rowid = ?",
                    (name, padding_bytes(len(value), len(name.encode())), value, row_number),
                )
        for row_number in standing.values():
            self._cursor.execute("DELETE FROM parts WHERE rowid = ?", (row_number,))
        return gone

    def _insert_part(self, number: int, name: str, value: bytes) -> None:
        self._cursor.execute(
            "INSERT INTO parts VALUES (?, ?, zeroblob(?), ?)",
            (number, name, padding_bytes(len(value), len(name.encode())), value),
        )

    def _erase(self, number: int, session_id: str, tombstone: Tombstone, now_unix_seconds: float) -> None:
        self._cursor.execute("DELETE FROM parts WHERE session = ?", (number,))
        self._cursor.execute("DELETE FROM heads WHERE session = ?", (number,))
        self._cursor.execute("DELETE FROM sessions WHERE number = ?", (number,))
        # No tombstone stands beside a record: creating takes it away.
        self._cursor.execute(
            "INSERT INTO tombstones VALUES (?, ?, ?, ?)",
            (session_id, tombstone.why, tombstone.request_id, now_unix_seconds),
        )
        self.records -= 1
        self.tombstones += 1


def _summary(row: tuple[Any, ...]) -> Summary:
    return Summary(
        session_id=row[0],
        model=row[1],
        owner=row[2],
        incarnation=row[3],
        revision=row[4],
        position=row[5],
        expires_unix_seconds=row[6],
        request_id=row[7],
        size_bytes=row[8],
    )


def _length(values: Iterable[bytes]) -> int:
    return sum(map(len, values))
