"""Sessions end when they were not used for long, in memory and in the store, and never before they said."""

from functools import partial

import pytest
from gatehouse_server.errors import SessionNotFound
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import ExportSession, ListResidents, ListStored
from gatehouse_server.stores.sqlite import SqliteStore

from tests.sessions.desk import Desk


class SetDesk(Desk):
    """A desk whose wall clock can be set."""

    ahead_seconds = 0.0

    def unix_now(self) -> float:
        return super().unix_now() + self.ahead_seconds


def test_an_expired_session_is_erased_from_the_store(registry, path):
    """Sessions whose time is up end in the store too, those that nobody took up among them."""
    limits = SessionLimits(idle_seconds=100, grace_seconds=50)
    desk = Desk(registry, limits=limits, open_store=partial(SqliteStore, path))
    resident, stored = desk.create().session_id, desk.create().session_id
    desk.restart(store_first=True)
    desk.write(resident, [14])
    desk.store()
    desk.now += 101
    for _ in range(3):
        desk.store()
        desk.now += 11
    assert desk.one(ListStored(after="", limit=10)).lines == ()
    for session in (resident, stored):
        with pytest.raises(SessionNotFound) as caught:
            desk.get(session)
        assert caught.value.reason == "SESSION_EXPIRED"


def test_nothing_expires_right_after_a_restart(registry, path):
    """A server that was away for long gives its users time to come back."""
    limits = SessionLimits(idle_seconds=100, grace_seconds=300)
    desk = Desk(registry, limits=limits, open_store=partial(SqliteStore, path))
    session = desk.create().session_id
    desk.leave()
    desk.now += 10_000
    desk._open()
    for _ in range(5):
        desk.store()
        desk.now += 11
    assert desk.write(session, [14]).state.position == 1


def test_a_session_that_is_only_read_does_not_expire_in_the_store(registry, path):
    """Its use is told to the store now and then, though nothing of it changes."""
    limits = SessionLimits(idle_seconds=100, grace_seconds=0.1, rest_seconds=10, max_resident_sessions=1)
    desk = Desk(registry, limits=limits, open_store=partial(SqliteStore, path))
    session = desk.create().session_id
    desk.suggest(session, "how are ")
    for _ in range(20):
        desk.suggest(session, "how are ")
        desk.store()
        desk.now += 30
        desk.tick()
    desk.restart(store_first=False)
    assert not desk.suggest(session, "how are ").rebuilt


def test_a_session_that_rests_before_its_use_was_told_is_told_all_the_same(registry, path):
    """A session that was only read leaves the state table at once when others need its place."""
    limits = SessionLimits(idle_seconds=100, grace_seconds=0.1, max_live_sessions=1)
    desk = Desk(registry, limits=limits, open_store=partial(SqliteStore, path))
    session, other = desk.create().session_id, desk.create().session_id
    desk.suggest(session, "how are ")
    desk.store()
    desk.now += 90
    desk.suggest(session, "how are ")
    desk.write(other, [14])
    desk.store()
    desk.restart(store_first=False)
    desk.now += 90
    desk.store()
    assert not desk.suggest(session, "how are ").rebuilt


def test_a_use_that_the_store_was_not_told_of_still_counts(registry, path):
    """A session that was only looked at lives as long as its reply said, in memory and in the store."""
    limits = SessionLimits(idle_seconds=100, grace_seconds=0.1)
    desk = Desk(registry, limits=limits, open_store=partial(SqliteStore, path))
    session = desk.create().session_id
    desk.now += 10
    desk.one(ExportSession(session_id=session))
    for _ in range(9):
        desk.now += 11
        desk.store()
    desk.write(session, [14])
    desk.store()
    assert desk.get(session).state.durable_revision == 1


def test_a_session_that_came_back_lives_as_long_as_it_says(kept):
    """Looking at it after a restart does not postpone its end, and before that end it is there."""
    kept.limits = SessionLimits(idle_seconds=1000)
    kept.restart(store_first=False)
    session = kept.create().session_id
    kept.write(session, [14])
    kept.store()
    kept.restart(store_first=True)
    for _ in range(7):
        kept.now += 100
        kept.store()
    left_seconds = kept.get(session).state.expires_in_seconds
    assert left_seconds < 320
    kept.now += left_seconds - 2
    kept.store()
    assert kept.write(session, [15]).state.position == 2


def test_a_session_that_was_asked_for_after_a_restart_lives_as_long_as_the_reply_says(registry, path):
    """It is told how long it has left, and has that long in the store too."""
    limits = SessionLimits(idle_seconds=100, grace_seconds=0.1)
    desk = Desk(registry, limits=limits, open_store=partial(SqliteStore, path))
    session = desk.create().session_id
    desk.restart(store_first=True)
    desk.now += 50
    until = desk.now + desk.get(session).state.expires_in_seconds
    while desk.now + 10 < until:
        desk.now += 9
        desk.store()
    desk.write(session, [14])
    desk.store()
    assert desk.get(session).state.durable_revision == 1


def test_a_clock_that_is_set_forward_ends_no_session_in_use(registry, path):
    """After a sudden hour on the wall clock users have the time to come back that a restart gives them."""
    limits = SessionLimits(idle_seconds=1000, grace_seconds=300)
    desk = SetDesk(registry, limits=limits, open_store=partial(SqliteStore, path))
    session = desk.create().session_id
    desk.now += 400
    desk.store()
    desk.ahead_seconds = 3600.0
    for _ in range(3):
        desk.now += 11
        desk.store()
    desk.write(session, [14])
    desk.now += 400
    desk.store()
    desk.restart(store_first=True)
    assert desk.get(session).state.position == 1


def leave_memory(desk, session):
    """Has others take the session's place in memory."""
    while session in desk.one(ListResidents()).session_ids:
        desk.create()
        desk.store()
        desk.tick()


def test_a_clock_that_is_set_forward_ends_no_stored_session_before_it_is_noticed(registry, path):
    """Also when the first to look at the clock is a session that comes back from the store."""
    limits = SessionLimits(idle_seconds=1000, grace_seconds=300, max_live_sessions=1, max_resident_sessions=1)
    desk = SetDesk(registry, limits=limits, open_store=partial(SqliteStore, path))
    session = desk.create().session_id
    desk.write(session, [14])
    desk.store()
    desk.now += 400
    leave_memory(desk, session)
    desk.ahead_seconds = 3600.0
    desk.now += 1
    assert desk.write(session, [15]).state.position == 2


def test_a_clock_that_is_set_back_makes_no_session_live_for_longer(registry, path):
    """One that comes back from the store has the usual time from then on, in memory and in the store."""
    limits = SessionLimits(idle_seconds=100, grace_seconds=1, rest_seconds=10, max_resident_sessions=1)
    desk = SetDesk(registry, limits=limits, open_store=partial(SqliteStore, path))
    desk.ahead_seconds = 86400.0
    session = desk.create().session_id
    desk.write(session, [14])
    desk.store()
    desk.now += 20
    leave_memory(desk, session)
    desk.ahead_seconds = 0.0
    assert desk.get(session).state.expires_in_seconds == 100
    desk.now += 20
    desk.store()
    desk.store()
    left_seconds = {
        line.session_id: line.expires_in_seconds for line in desk.one(ListStored(after="", limit=9)).lines
    }
    assert left_seconds[session] <= 100


def test_sessions_expire_after_the_store_was_down_though_nothing_is_left_to_store(registry, flaky):
    """What failed to be stored may end while it waits: the store is swept all the same when it is back."""
    limits = SessionLimits(idle_seconds=100, grace_seconds=0.1)
    desk = Desk(registry, limits=limits, open_store=flaky.open)
    session = desk.create().session_id
    flaky.down, flaky.count = True, lambda: 1  # as of a file on a full disk: what is known can be told
    desk.write(session, [14])
    desk.store()
    desk.now += 200
    desk.store()
    flaky.down = False
    for _ in range(3):
        desk.now += 11
        desk.store()
    assert desk.one(ListStored(after="", limit=9)).lines == ()
