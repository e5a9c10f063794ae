"""What became of sessions that ended: a bounded memory of reasons."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from gatehouse_server.errors import SessionNotFound
from gatehouse_server.stores.port import Ending, Tombstone

_WHY_GONE: dict[Ending, str] = {
    "SESSION_EXPIRED": "it was not used for longer than the server keeps idle sessions",
    "SESSION_DELETED": "it was deleted",
    "SESSION_EVICTED": "the operator ended it",
}


class LostSessions:
    """Remembers why sessions ended, the last `most` of them for `seconds`. Of one thread.

    In tuples of plain values, which the garbage collector need not look at.
    """

    def __init__(self, *, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._lost: OrderedDict[str, tuple[Ending, str | None, float]] = OrderedDict()

    def remember(self, session_id: str, tombstone: Tombstone) -> None:
        """The session ended now."""
        self._lost.pop(session_id, None)
        self._lost[session_id] = tombstone.why, tombstone.request_id, self._clock()
        if len(self._lost) > self._most:
            self._lost.popitem(last=False)

    def forget(self, session_id: str) -> None:
        """There is such a session again."""
        self._lost.pop(session_id, None)

    def find(self, session_id: str) -> Tombstone | None:
        """Why the session ended, if it is remembered."""
        lost = self._lost.get(session_id)
        return None if lost is None else Tombstone(why=lost[0], request_id=lost[1])

    def forget_old(self) -> None:
        """Lets go of what ended long ago."""
        oldest_seconds = self._clock() - self._seconds
        while self._lost:
            session_id, (_, _, lost_seconds) = next(iter(self._lost.items()))
            if lost_seconds > oldest_seconds:
                break
            del self._lost[session_id]


def gone(session_id: str, tombstone: Tombstone | None) -> SessionNotFound:
    """The error for a session that is not there."""
    if tombstone is None:
        return SessionNotFound(
            f"there is no session {session_id[:140]!r}: it never was, or it ended so long ago that the server "
            "cannot tell, or with a server that keeps sessions in its memory only",
            reason="SESSION_UNKNOWN",
        )
    return SessionNotFound(
        f"session {session_id!r} is gone: {_WHY_GONE[tombstone.why]}. Create a new one", reason=tombstone.why
    )
