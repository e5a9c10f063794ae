"""Writes of a stream that the engine had no room for, so that what was sent after them is not misunderstood."""

from __future__ import annotations

from collections import OrderedDict

from gatehouse.v1 import online_pb2

from gatehouse_server.errors import PrecedingWriteRefused
from gatehouse_server.sessions.operations import RefusedWrite, Write

_REMEMBERED = 1024


class TurnedAway:
    """The first revision of each session that never reached it.

    A session refuses what follows a write that it refused itself; of one that never reached it, it knows nothing,
    and would tell the client that state was lost. Bounded: of a forgotten one, the session says just that.
    """

    def __init__(self) -> None:
        self._first: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def remember(self, write: Write | RefusedWrite) -> None:
        """A write that was turned away."""
        if write.revision is None or write.incarnation is None or write.session_id in self._first:
            return
        self._first[write.session_id] = (write.incarnation, write.revision)
        if len(self._first) > _REMEMBERED:
            self._first.popitem(last=False)

    def check(self, session_id: str, write: online_pb2.SessionWrite) -> None:
        """Raises PrecedingWriteRefused for a write of this session behind one that was turned away, until that one
        comes again.
        """
        first = self._first.get(session_id)
        if first is None or not write.HasField("revision"):
            return
        incarnation, revision = first
        if write.incarnation == incarnation and write.revision > revision:
            raise PrecedingWriteRefused(f"a write before this one was refused. Send revision {revision} next")
        del self._first[session_id]
