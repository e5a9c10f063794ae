"""Writes of a stream that the engine had no room for, so that what was sent after them is not misunderstood."""

from __future__ import annotations

from collections import OrderedDict

from gatehouse_server.errors import GatehouseError, PrecedingWriteRefused, StateBehind
from gatehouse_server.sessions.operations import RefusedWrite, Write

_REMEMBERED = 1024


class TurnedAway:
    """The writes that never reached their sessions.

    A session refuses what follows a write that it refused itself; of one that never reached it, it knows nothing, and
    tells that state was lost. Nothing is refused here: whether a write is the next one is for its session alone to
    say, which may have moved by another way since. Bounded: of what is forgotten, the session's own words are told.
    """

    def __init__(self) -> None:
        self._writes: OrderedDict[tuple[str, int, int], None] = OrderedDict()

    def remember(self, write: Write | RefusedWrite) -> None:
        """A write that was turned away."""
        if write.revision is None or write.incarnation is None:
            return
        self._writes[write.session_id, write.incarnation, write.revision] = None
        if len(self._writes) > _REMEMBERED:
            self._writes.popitem(last=False)

    def explained(self, session_id: str, error: StateBehind) -> GatehouseError:
        """Why a session has less than the client believes: PrecedingWriteRefused when the write that it stands before
        was turned away, and what it said itself otherwise.
        """
        revision = int(error.metadata["revision"]) + 1
        if (session_id, int(error.metadata["incarnation"]), revision) not in self._writes:
            return error
        return PrecedingWriteRefused(
            f"a write before this one was refused. Send revision {revision} next", metadata=error.metadata
        )
