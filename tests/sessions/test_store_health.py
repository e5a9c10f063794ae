"""Whether the state store works, as probes are told when nobody writes."""

import pytest
from gatehouse_server.errors import StoreUnavailable
from gatehouse_server.sessions.operations import DeleteSession
from gatehouse_server.sessions.sweeping import SWEEP_SECONDS

from tests.sessions.desk import Desk
from tests.sessions.keeping import LIMITS, under


def test_a_store_that_can_only_be_read_fails_until_it_takes_something(registry, flaky):
    """In sync mode readiness comes back without anybody writing, but not because something else than a write works."""
    desk = Desk(registry, limits=LIMITS, open_store=flaky.open, durability="sync")
    view = desk.create()
    flaky.full = True
    with pytest.raises(StoreUnavailable):
        desk.one(under(view.session_id, view, 1, [14], at=0))
    for _ in range(2):
        desk.now += SWEEP_SECONDS
        desk.store()
        assert "the store is full" in desk.lane.store_problem()
    flaky.full = False
    desk.now += SWEEP_SECONDS
    desk.store()
    assert desk.lane.store_problem() is None


def test_a_warning_goes_although_what_could_not_be_stored_has_ended(behind, flaky):
    """Nothing is left then that would be tried again."""
    session = behind.create().session_id
    behind.write(session, [14])
    flaky.full = True
    behind.store()
    behind.one(DeleteSession(session_id=session))
    flaky.full = False
    assert "the store is full" in behind.lane.store_warning()
    behind.now += SWEEP_SECONDS
    behind.store()
    behind.tick()
    assert behind.lane.store_warning() is None
