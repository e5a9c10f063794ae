"""What the state store is asked to do now and then: let go of what expired, erase it for good, count what there is, and
take something again after it failed.
"""

from __future__ import annotations

from collections.abc import Callable

from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.sessions.lifetimes import Lifetimes
from gatehouse_server.sessions.store_health import StoreHealth
from gatehouse_server.stores.port import StoreFailure, Summary
from gatehouse_server.stores.worker import StoreWorker

SWEEP_SECONDS = 10.0

_SWEEP_WHILE_FAILING_SECONDS = 1.0
_MOST_EXPIRED_AT_ONCE = 1000


class Sweeper:
    """Used by the engine thread. `known_sessions` is how many the store has, as far as that is known; `due_seconds`
    is when it is time for a round.
    """

    def __init__(
        self,
        *,
        worker: StoreWorker,
        lifetimes: Lifetimes,
        health: StoreHealth,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._worker = worker
        self._lifetimes = lifetimes
        self._health = health
        self._observer = observer
        self._clock = clock
        self._erased = False  # whether something was whose content has to be made unreadable yet
        self.due_seconds = clock()
        self.known_sessions = 0

    def sweep(self, now: float, *, is_told: bool) -> None:
        """One round. `is_told` says that the store knows of the last use of each session, or nearly; otherwise nothing
        expires there.
        """
        self.due_seconds = now + SWEEP_SECONDS
        self._lifetimes.notice_clock()
        if is_told and not self._lifetimes.in_grace:
            over_unix_seconds = self._lifetimes.over_unix_seconds
            self._worker.call(
                "expire",
                lambda store: store.expire(over_unix_seconds, _MOST_EXPIRED_AT_ONCE),
                self._was_swept,
            )
        if self._erased:
            self._erased = False
            self._worker.call("scrub", lambda store: store.scrub(), self._was_scrubbed)
        if self._health.awaits_probe:  # counting only reads, which may work although nothing can be stored
            self._worker.call("probe", lambda store: store.probe(), self._was_probed)
        else:
            self._worker.call("count", lambda store: store.count(), self._was_counted)

    def was_made(self) -> None:
        """The store has one more session."""
        self.known_sessions += 1

    def was_removed(self) -> None:
        """The store has one session less."""
        self.known_sessions -= 1
        self._erased = True

    def was_erased(self, outcome: object) -> None:
        """What the store said of a session whose time was up."""
        self._erased = self._erased or isinstance(outcome, Summary)

    def _was_swept(self, outcome: int | StoreFailure) -> None:
        if isinstance(outcome, int) and outcome:
            self._erased = True
            self._observer.happened(Happening.SESSION_EXPIRED, outcome)
            if outcome == _MOST_EXPIRED_AT_ONCE:
                self.due_seconds = self._clock()

    def _was_scrubbed(self, outcome: object) -> None:
        self._erased = self._erased or isinstance(outcome, StoreFailure)

    def _was_counted(self, outcome: int | StoreFailure) -> None:
        """Counting also tells when the store fails and nobody writes."""
        if isinstance(outcome, int):
            self.known_sessions = outcome
        else:
            self._fails(outcome)

    def _was_probed(self, outcome: StoreFailure | None) -> None:
        if outcome is None:
            self._health.works()
        else:
            self._fails(outcome)

    def _fails(self, failure: StoreFailure) -> None:
        self._health.fails(str(failure))
        self.due_seconds = self._clock() + _SWEEP_WHILE_FAILING_SECONDS
