"""The port between sessions and whatever keeps them: records in, records out.

A record is a summary, a head and named parts. What the head and the parts mean is the sessions' business; a change
carries only the parts that are new or gone, so that a long tape is not written again at each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Ending = Literal["SESSION_EXPIRED", "SESSION_DELETED", "SESSION_EVICTED"]
"""Why a session is no more: a reason of `errors.SessionNotFound`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What can be told of a stored session without reading it.

    `owner` is the process that may write it, `incarnation` the life in which it may. `size_bytes` counts head
    and parts; a change has 0 there, since only the store knows.
    """

    session_id: str
    model: str
    owner: str
    incarnation: int
    revision: int
    position: int
    expires_unix_seconds: float
    request_id: str | None = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a record becomes: summary and head replaced, `parts` put, `dropped` parts taken away.

    With `creates` there must be no record yet; otherwise there must be one of the same incarnation and owner whose
    revision is not higher, and, with `follows`, is one of these or the change's own: a change carries only what is new,
    and on another record than it was made for it would leave one that is not whole. When that does not hold, nothing is
    changed. A change may be applied twice without harm.
    """

    summary: Summary
    head: bytes
    parts: Mapping[str, bytes]
    dropped: tuple[str, ...] = ()
    creates: bool = False
    follows: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """A whole record."""

    summary: Summary
    head: bytes
    parts: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """What is remembered of a session that ended: why, and by which request."""

    why: Ending
    request_id: str | None = None


class StoreFailure(Exception):
    """The store could not do it, or its answer was lost: whether it did is unknown. `str` is one line."""


class SessionStore(Protocol):
    """Keeps records. Used by one thread. Everything but `close` raises StoreFailure.

    `shared` tells whether other processes may write to it too; `secret` is 32 random bytes, made with the store and
    the same for everybody who uses it. Constructors raise `errors.StoreDefect`.
    """

    @property
    def shared(self) -> bool: ...

    @property
    def secret(self) -> bytes: ...

    def apply(self, changes: Sequence[Change]) -> list[Summary | None]:
        """Makes the changes, each wholly or not at all; what it returns is durable.

        For each: its own summary when it was applied, else that of the record which stands there instead, None when
        there is none. Creating takes away a tombstone of that identifier. A creation that finds the record which
        it made before (same incarnation and owner) is applied like any other change, or counts as applied when
        that record is at a higher revision by now.
        """

    def claim(
        self, session_ids: Sequence[str], *, owner: str, incarnation: int
    ) -> list[StoredSession | Tombstone | None]:
        """The records, now `owner`'s. One that was somebody else's begins a new life: its incarnation becomes
        `incarnation`, or its own + 1 when that is higher. Atomic for each; None for what is unknown.
        """

    def look(self, session_ids: Sequence[str]) -> list[Summary | Tombstone | None]:
        """What stands there, without touching it."""

    def remove(
        self, session_id: str, tombstone: Tombstone, *, incarnation: int | None = None
    ) -> Summary | Tombstone | None:
        """Erases a record and leaves a tombstone; returns what stood there before.

        With `incarnation` only when it is the record's. Where there is no such record nothing changes.
        """

    def after(self, session_id: str, limit: int) -> list[Summary]:
        """The first `limit` records whose identifiers sort after `session_id` (as UTF-8 bytes), in that order."""

    def expire(self, now_unix_seconds: float, limit: int) -> int:
        """Erases up to `limit` records whose time is up, leaving tombstones; how many. Forgets tombstones older
        than a day, and the oldest beyond a million.
        """

    def count(self) -> int:
        """How many records there are."""

    def probe(self) -> None:
        """Writes something that means nothing: fails where a change would, for want of room as well."""

    def scrub(self) -> None:
        """Makes erased content unreadable in files of the store's own, its log included, as far as it can."""

    def close(self) -> None:
        """Lets go of the store. Never raises."""
