"""The sessions that have something which the state store does not have, and for how long each has been waiting."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from gatehouse_server.sessions.changes import Draft


class Backlog:
    """Used by the engine thread. A session is noted, then under way to the store; what does not get there is kept
    aside until all that went with it has an answer, and noted again. What somebody waits for goes there by itself.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._noted: OrderedDict[str, float] = OrderedDict()
        self._under_way: OrderedDict[str, tuple[float, Draft]] = OrderedDict()
        self._not_stored: list[tuple[str, float]] = []
        self._awaited: dict[object, float] = {}

    @property
    def sessions(self) -> int:
        """How many sessions have something that the store does not have; one that changed while it was being stored
        counts twice. Those that begin or end, and wait for the store with it, count too.
        """
        return len(self._noted) + len(self._under_way) + len(self._awaited)

    @property
    def lag_seconds(self) -> float:
        """For how long the oldest change has been waiting to be stored. Asked before each write."""
        oldest_seconds = self._not_stored[0][1] if self._not_stored else inf
        for since_seconds, _ in self._under_way.values():
            oldest_seconds = min(oldest_seconds, since_seconds)
            break
        for waits in (self._noted, self._awaited):
            for since_seconds in waits.values():
                oldest_seconds = min(oldest_seconds, since_seconds)
                break
        return max(0.0, self._clock() - oldest_seconds)

    @property
    def has_noted(self) -> bool:
        """Whether there is something to be handed over."""
        return bool(self._noted)

    def is_noted(self, session_id: str) -> bool:
        """Whether the session has something that was not handed over yet."""
        return session_id in self._noted

    def is_under_way(self, session_id: str) -> bool:
        """Whether a change of the session was handed over and not yet answered."""
        return session_id in self._under_way

    def drafts(self) -> Iterator[Draft]:
        """What is under way, in the order in which it was handed over."""
        for _, draft in self._under_way.values():
            yield draft

    def note(self, session_id: str) -> None:
        """The session has something that the store does not have."""
        if session_id not in self._noted:
            self._noted[session_id] = self._clock()

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """While an operation waits for the store to take its change, or to say that it does not."""
        wait = object()
        self._awaited[wait] = self._clock()
        try:
            yield
        finally:
            del self._awaited[wait]

    def forget(self, session_id: str) -> None:
        """What was noted of the session needs no storing any more."""
        self._noted.pop(session_id, None)

    def take(self) -> tuple[str, float]:
        """The session that has been noted for the longest, and since when."""
        return self._noted.popitem(last=False)

    def hand_over(self, draft: Draft, since_seconds: float) -> None:
        """A change goes to the store."""
        self._under_way[draft.summary.session_id] = since_seconds, draft

    def answered(self, draft: Draft) -> float | None:
        """The store said what became of a change; since when that has been waiting. Absent when the session was handed
        over once more, for the end of the process.
        """
        since_seconds, latest = self._under_way[draft.summary.session_id]
        if latest is not draft:
            return None
        del self._under_way[draft.summary.session_id]
        return since_seconds

    def keep_aside(self, session_id: str, since_seconds: float) -> None:
        """What was handed over is not in the store."""
        self._not_stored.append((session_id, since_seconds))

    def note_again(self) -> None:
        """What was not stored has been waiting for longer than anything noted since; first the longest."""
        while self._not_stored:
            session_id, since_seconds = self._not_stored.pop()
            self._noted[session_id] = since_seconds
            self._noted.move_to_end(session_id, last=False)
