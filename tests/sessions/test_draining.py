"""What a server that leaves owes: everything that was acknowledged is stored, or said to be lost; answers are true."""

from functools import partial

import pytest
from gatehouse_server.engine.observer import Happening
from gatehouse_server.errors import Draining, StoreUnavailable
from gatehouse_server.sessions.operations import CreateSession, DeleteSession, ForkSession
from gatehouse_server.stores.sqlite import SqliteStore

from tests.sessions.desk import Desk, make_write
from tests.sessions.keeping import LIMITS, under, vector


def next_process(desk):
    """Begins another process on the same store, after one that was drained."""
    desk._restarts += 1
    desk._open()


def outcome_of(desk, ticket):
    """What an operation was answered with."""
    return {answered.tag: outcome for answered, outcome in desk.answers}[ticket.tag]


def test_a_drain_stores_what_a_flush_just_failed_to(behind, flaky):
    """The store had failed, and works again, before anybody looked at its answer."""
    view = behind.create()
    behind.one(under(view.session_id, view, 1, [14], at=0))
    flaky.down = True
    behind.now += 0.05
    behind.tick()
    behind.worker.work()
    flaky.down = False
    behind.lane.abandon(behind.answers)
    assert behind.worker.close(1.0)
    next_process(behind)
    assert behind.get(view.session_id).state.revision == 1
    assert vector(behind, view.session_id)


def test_a_drain_stores_what_failed_beside_a_change_that_is_under_way(behind, flaky):
    """One change has failed and waits for the rest of its flush to be answered, which is never going to be."""
    views = [behind.create() for _ in range(2)]
    behind.store()
    for view in views:
        behind.one(under(view.session_id, view, 1, [14], at=0))
    behind.now += 0.05
    behind.tick()
    waiting = behind.worker._waiting
    later = [waiting.pop() for _ in range(len(waiting) - 1)]
    flaky.down = True
    behind.worker.work()
    flaky.down = False
    waiting.extend(reversed(later))
    behind.lane.run(behind.answers)
    behind.lane.abandon(behind.answers)
    assert behind.worker.close(1.0)
    next_process(behind)
    assert [behind.get(view.session_id).state.revision for view in views] == [1, 1]


def test_what_was_stored_late_in_a_drain_is_not_called_lost(behind, flaky):
    """A change fails while the last ones wait behind it: the same session's last one lands, and that counts."""
    view = behind.create()
    behind.one(under(view.session_id, view, 1, [14], at=0))
    behind.now += 0.05
    behind.tick()
    behind.lane.abandon(behind.answers)
    first, *last = behind.worker._waiting
    behind.worker._waiting.clear()
    behind.worker._waiting.append(first)
    flaky.down = True
    behind.worker.work()
    flaky.down = False
    assert behind.worker.unsaved == 1
    behind.worker._waiting.extend(last)
    assert behind.worker.close(1.0)
    assert behind.worker.unsaved == 0


def test_a_drain_whose_last_changes_fail_says_so(behind, flaky):
    """Also when the store's thread is through with them before it is closed."""
    view = behind.create()
    behind.store()
    behind.one(under(view.session_id, view, 1, [14], at=0))
    flaky.down = True
    behind.lane.abandon(behind.answers)
    behind.worker.work()
    assert not behind.worker.close(1.0)
    assert behind.worker.unsaved == 1


@pytest.mark.parametrize(
    "operation",
    [
        make_write("source", [14]),
        CreateSession(model="keyboard", session_id="new"),
        ForkSession(session_id="source", new_session_id="new"),
        DeleteSession(session_id="source"),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_what_the_store_is_changing_already_is_not_said_to_be_dropped(registry, path, operation):
    """A server that leaves meanwhile cannot tell; what waits behind it was not applied, and is told so."""
    desk = Desk(registry, limits=LIMITS, open_store=partial(SqliteStore, path), durability="sync")
    desk.create(session_id="source")
    ticket, behind_it = desk.send(operation, operation)
    while desk.lane.has_work():
        desk.lane.run(desk.answers)
    desk.lane.abandon(desk.answers)
    outcome = outcome_of(desk, ticket)
    assert isinstance(outcome, StoreUnavailable)
    assert "may have been applied" in outcome.message
    assert isinstance(outcome_of(desk, behind_it), Draining)
    assert desk.counts.happenings[Happening.DROPPED_DRAINING] == 1


def test_what_only_waits_to_be_read_is_dropped(registry, path):
    """A write whose session the store has yet to hand out was not applied, in either mode."""
    desk = Desk(registry, limits=LIMITS, open_store=partial(SqliteStore, path), durability="sync")
    session = desk.create().session_id
    desk.restart(store_first=True)
    first, second = desk.send(make_write(session, [14]), make_write(session, [15]))
    desk.lane.abandon(desk.answers)
    assert [type(outcome_of(desk, ticket)) for ticket in (first, second)] == [Draining] * 2
    assert desk.counts.happenings[Happening.DROPPED_DRAINING] == 2
    desk.worker.close(1.0)
    next_process(desk)
    assert desk.get(session).state.revision == 0
