"""The store's thread: what fails alone, and what it says was not stored."""

from collections.abc import Callable, Sequence
from typing import cast

import pytest
from gatehouse_server.stores.port import Change, SessionStore, StoreFailure, Summary
from gatehouse_server.stores.worker import StoreWorker
from structlog.testing import capture_logs

from tests.stores.records import saving


class PoisonedStore:
    """A store that stumbles over some sessions' changes. `during` is called in the middle of each piece of work."""

    def __init__(self, error: type[Exception], poisoned: str) -> None:
        self._error = error
        self._poisoned = poisoned
        self.during: Callable[[], object] = lambda: None

    def apply(self, changes: Sequence[Change]) -> list[Summary | None]:
        self.during()
        if any(each.summary.session_id == self._poisoned for each in changes):
            raise self._error("of no use to anybody")
        return [each.summary for each in changes]

    def close(self) -> None:
        pass


def make_worker(store: PoisonedStore) -> StoreWorker:
    """A worker without a thread."""
    return StoreWorker(
        cast("SessionStore", store),
        owner="o",
        done=lambda: None,
        told_seconds=lambda *_: None,
        new_incarnation=lambda: 1,
    )


def apply_all(worker: StoreWorker, session_ids: Sequence[str]) -> list[object]:
    """Has changes of sessions made together; what became of each."""
    outcomes: list[object] = []
    for session_id in session_ids:
        worker.apply(saving(session_id), outcomes.append)
    worker.work()
    worker.collect()
    return outcomes


@pytest.mark.parametrize("error", [StoreFailure, TypeError], ids=["failure", "defect"])
def test_a_change_that_cannot_be_made_harms_no_other_one(error: type[Exception]) -> None:
    """Whatever goes wrong with it, what goes to the store beside it gets there; a defect of ours is in the log."""
    worker = make_worker(PoisonedStore(error, "b"))
    with capture_logs() as lines:
        outcomes = apply_all(worker, ["a", "b", "c"])
    assert [isinstance(outcome, StoreFailure) for outcome in outcomes] == [False, True, False]
    assert {line["event"] for line in lines} == (
        set() if error is StoreFailure else {"the store's thread failed"}
    )


def test_sessions_that_are_being_stored_count_as_unsaved() -> None:
    """Each once: what the store is at, what waits behind it, and what it did not take at the end."""
    store = PoisonedStore(StoreFailure, "b")
    worker = make_worker(store)
    told: list[int] = []

    def another_comes() -> None:
        store.during = lambda: None
        worker.apply(saving("c"), lambda _: None)
        worker.apply(saving("a"), lambda _: None)
        told.append(worker.unsaved)

    store.during = another_comes
    worker.last_ones()
    apply_all(worker, ["a", "b"])
    assert told == [3]
    assert worker.unsaved == 3
    worker.work()
    assert worker.unsaved == 1
    assert not worker.close(1.0)


def test_what_failed_before_the_last_ones_is_not_lost() -> None:
    """It is handed over again, as long as there is somebody who does."""
    worker = make_worker(PoisonedStore(StoreFailure, "b"))
    apply_all(worker, ["a", "b"])
    assert worker.unsaved == 0
    worker.last_ones()
    assert worker.close(1.0)
