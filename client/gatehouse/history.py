"""A client's own writes of one session, as far back as the server may still lose them. No I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from gatehouse.v1 import online_pb2

MAX_WRITES = 4096
MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A write that the server accepted, and the position that the session then had. `revision` and `size_bytes` are
    the write's.
    """

    write: online_pb2.SessionWrite
    position: int
    revision: int
    size_bytes: int


class History:
    """Accepted writes by revision, without gaps, from some revision up to the last.

    The newest durable write stays, since it proves that a tape which ends with it is this client's, and so does the
    last write, whatever its size. What exceeds the bounds is forgotten, oldest first: a loss as deep as that cannot
    be replayed. Without `keeps_many`, which is for servers that lose everything or nothing, only the last stays.
    """

    def __init__(self, *, revision: int, position: int, keeps_many: bool) -> None:
        self._base_revision = revision
        self._base_position = position
        self._keeps_many = keeps_many
        self._durable_revision = 0
        self._writes: deque[Accepted] = deque()
        self._bytes = 0

    def add(self, write: online_pb2.SessionWrite, *, position: int) -> None:
        """Puts the next accepted write."""
        revision, size_bytes = write.revision, write.ByteSize()
        if self._writes and revision != self._writes[-1].revision + 1:
            self._writes.clear()
            self._bytes = 0
        self._writes.append(
            Accepted(write=write, position=position, revision=revision, size_bytes=size_bytes)
        )
        self._bytes += size_bytes
        self._trim()

    def note_durable(self, revision: int) -> None:
        """Forgets what can no longer get lost."""
        if revision > self._durable_revision:
            self._durable_revision = revision
            self._trim()

    def at(self, revision: int) -> Accepted | None:
        """The write that made a revision; None when it is not (or no longer) here."""
        if not self._writes:
            return None
        index = revision - self._writes[0].revision
        return self._writes[index] if 0 <= index < len(self._writes) else None

    def position_at(self, revision: int) -> int | None:
        """The position that the session had at a revision, where this client began or after a write that is here;
        else None.
        """
        accepted = self.at(revision)
        if accepted is not None:
            return accepted.position
        return self._base_position if revision == self._base_revision else None

    def _trim(self) -> None:
        while len(self._writes) > 1 and (
            not self._keeps_many
            or self._writes[1].revision <= self._durable_revision
            or len(self._writes) > MAX_WRITES
            or self._bytes > MAX_BYTES
        ):
            self._bytes -= self._writes.popleft().size_bytes
