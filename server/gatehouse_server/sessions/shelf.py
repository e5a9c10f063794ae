"""Packed sessions, in the order in which they were put there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

from gatehouse_server.sessions.record import Head, decode_head, unpack
from gatehouse_server.sessions.session import Conflict
from gatehouse_server.sessions.stored import Stored


class Packed(NamedTuple):
    """A session out of the state table.

    `content` is what `record.pack` gave. `unsaved` tells that a store has less than that. `stored` is absent when it
    can be made again: from a content that the store has all of. `conflict` is the session's, seldom there.
    """

    expires_seconds: float
    content: bytes
    unsaved: bool
    stored: Stored | None
    stored_expires_unix_seconds: float
    conflict: Conflict | None = None

    def head(self) -> Head:
        """Its head."""
        return decode_head(unpack(self.content)[0])


class Shelf:
    """A million sessions lie here as plain tuples of plain values, since the garbage collector forgets about these: it
    would look at each object of a class of ours, half a second in all.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[Any, ...]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def get(self, session_id: str) -> Packed | None:
        """The session, if it is here."""
        entry = self._entries.get(session_id)
        return None if entry is None else Packed._make(entry)

    def items(self) -> Iterator[tuple[str, Packed]]:
        """All sessions, what has been here longest first."""
        for session_id, entry in self._entries.items():
            yield session_id, Packed._make(entry)

    def put(self, session_id: str, packed: Packed) -> None:
        """Puts a session behind all others, or in the place that it has."""
        before = self._entries.get(session_id)
        if before is not None:
            self.size_bytes -= len(Packed._make(before).content)
        self._entries[session_id] = tuple(packed)
        self.size_bytes += len(packed.content)

    def take(self, session_id: str) -> Packed:
        """Takes a session away."""
        packed = Packed._make(self._entries.pop(session_id))
        self.size_bytes -= len(packed.content)
        return packed
