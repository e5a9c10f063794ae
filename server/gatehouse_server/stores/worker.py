"""The thread that talks to the store, so that nobody else waits for it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from gatehouse_server.stores.port import Change, SessionStore, StoreFailure

_log = structlog.get_logger(__name__)

MOST_AT_ONCE = 512
"""Changes or claims that go to the store in one piece; what waits behind them waits that long."""

_DOWN_AFTER = 3
"""After so many claims in a row failed one by one, and none succeeded, the rest fail with them."""

Finished = Callable[[Any], None]
"""Gets what the store returned, or a StoreFailure."""


@dataclass(frozen=True, slots=True)
class _Request:
    kind: str
    argument: Any
    finished: Finished


class StoreWorker:
    """Takes requests from one thread, does them in their order, hands the results back to that thread.

    Changes that wait one behind the other go to the store together, and so do claims. `collect` calls what was given
    as `finished`; `done` is called on the worker's thread when there is something to collect. `told_seconds` hears what
    kind of request took how long, and whether it failed.
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        owner: str,
        done: Callable[[], None],
        told_seconds: Callable[[str, float, bool], None],
        new_incarnation: Callable[[], int],
    ) -> None:
        self._store = store
        self._owner = owner
        self._done = done
        self._told_seconds = told_seconds
        self._new_incarnation = new_incarnation
        self._waiting: deque[_Request] = deque()
        self._results: deque[tuple[Finished, object]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._closed = False
        self._taken: set[str] = set()
        self._last_ones = False
        self._lost: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="gatehouse-store", daemon=True)

    @property
    def shared(self) -> bool:
        """Whether other processes may write to the store."""
        return self._store.shared

    @property
    def owner(self) -> str:
        """The name under which this process owns records."""
        return self._owner

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def apply(self, change: Change, finished: Finished) -> None:
        """See `SessionStore.apply`."""
        self._submit(_Request("apply", change, finished))

    def claim(self, session_id: str, finished: Finished) -> None:
        """See `SessionStore.claim`."""
        self._submit(_Request("claim", session_id, finished))

    def call(self, kind: str, what: Callable[[SessionStore], object], finished: Finished) -> None:
        """Anything else; `kind` is what the time is told as."""
        self._submit(_Request(kind, what, finished))

    def collect(self) -> None:
        """Calls back for everything that is done. On the thread that submits."""
        while self._results:
            finished, outcome = self._results.popleft()
            finished(outcome)

    @property
    def has_results(self) -> bool:
        """Whether `collect` has something to do."""
        return bool(self._results)

    @property
    def unsaved(self) -> int:
        """Sessions with a change that waits or is under way, or is lost: see `last_ones`."""
        with self._changed:
            return len(self._lost | self._taken | _changed_by(self._waiting))

    def last_ones(self) -> None:
        """Nobody is going to hand over again what the store does not take from now on: it is lost."""
        with self._changed:
            self._last_ones = True

    def close(self, timeout_seconds: float) -> bool:
        """Does what waits, closes the store and ends the thread. False when something was not stored by then."""
        with self._changed:
            self._closing = self._last_ones = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        elif not self._closed:
            self.work()
            self._close_store()
        return self._closed and not self._lost

    def work(self) -> None:
        """Does everything that waits, on the caller's thread."""
        with self._changed:
            requests = list(self._waiting)
            self._waiting.clear()
            self._taken = _changed_by(requests)
        for kind, batch in _together(requests):
            self._do(kind, batch)
        with self._changed:
            self._taken = set()

    def _claimed(self, session_ids: Sequence[str]) -> Sequence[object]:
        return self._store.claim(session_ids, owner=self._owner, incarnation=self._new_incarnation())

    def _submit(self, request: _Request) -> None:
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    break
            self.work()
            self._done()
        self._close_store()

    def _close_store(self) -> None:
        self._store.close()
        self._closed = True

    def _do(self, kind: str, batch: Sequence[_Request]) -> None:
        began_seconds = time.perf_counter()
        arguments = [request.argument for request in batch]
        if kind == "apply":
            outcomes = _each(kind, self._store.apply, arguments)
        elif kind == "claim":
            outcomes = _each(kind, self._claimed, arguments)
        else:
            outcomes = _each(kind, lambda calls: [call(self._store) for call in calls], arguments)
        failed = any(isinstance(outcome, StoreFailure) for outcome in outcomes)
        if kind == "apply":
            self._note_lost(batch, outcomes)
        self._told_seconds(kind, time.perf_counter() - began_seconds, failed)
        self._results.extend(
            (request.finished, outcome) for request, outcome in zip(batch, outcomes, strict=True)
        )

    def _note_lost(self, batch: Sequence[_Request], outcomes: Sequence[object]) -> None:
        """A session is lost while the last of its changes is."""
        with self._changed:
            for request, outcome in zip(batch, outcomes, strict=True):
                session_id = request.argument.summary.session_id
                if not isinstance(outcome, StoreFailure):
                    self._lost.discard(session_id)
                elif self._last_ones:
                    self._lost.add(session_id)


def _changed_by(requests: Iterable[_Request]) -> set[str]:
    return {request.argument.summary.session_id for request in requests if request.kind == "apply"}


def _each(
    kind: str, together: Callable[[Sequence[Any]], Sequence[object]], arguments: Sequence[Any]
) -> Sequence[object]:
    """All together; where that fails one by one, so that a record that cannot be read or written harms nobody else.

    A store that fails again and again is down: then the others are not tried, which might take seconds for each.
    """
    try:
        return together(arguments)
    except StoreFailure as known:
        failure = known
    except Exception as bug:  # one of ours must not end the thread: who waits is told
        _log.exception("the store's thread failed", kind=kind)
        failure = StoreFailure(f"{kind} failed with {type(bug).__name__}")
    if len(arguments) == 1:
        return [failure]
    outcomes: list[object] = []
    for argument in arguments:
        down = len(outcomes) >= _DOWN_AFTER and all(isinstance(each, StoreFailure) for each in outcomes)
        outcomes += [failure] if down else _each(kind, together, [argument])
    return outcomes


def _together(requests: Sequence[_Request]) -> Iterator[tuple[str, Sequence[_Request]]]:
    """Neighbours of a kind that goes together, up to a limit; all else alone."""
    begin = 0
    while begin < len(requests):
        kind = requests[begin].kind
        end = begin + 1
        if kind in ("apply", "claim"):
            while end < len(requests) and end - begin < MOST_AT_ONCE and requests[end].kind == kind:
                end += 1
        yield kind, requests[begin:end]
        begin = end
