"""What a second look at sessions and their store asked for: nothing is lost in the seams between two mechanisms."""

from collections.abc import Container
from functools import partial
from typing import cast

import numpy as np
import pytest
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import (
    PrecedingWriteRefused,
    RevisionConflict,
    SessionMoved,
    SessionNotFound,
)
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import DeleteSession, ExportSession, ForkSession, ListStored
from gatehouse_server.stores.port import SessionStore, StoreFailure
from gatehouse_server.stores.redis import RedisStore
from gatehouse_server.stores.sqlite import SqliteStore
from gatehouse_server.stores.worker import StoreWorker

from tests.sessions.desk import Desk, NoSink, make_write
from tests.sessions.flaky import FlakyStore
from tests.stores.redis_server import RedisServer

LIMITS = SessionLimits(max_sessions=64, max_live_sessions=8, max_resident_sessions=16)


@pytest.fixture
def path(tmp_path):
    """Where the store is."""
    return tmp_path / "sessions.db"


@pytest.fixture
def flaky(path):
    """A store that can be made to fail."""
    return FlakyStore(partial(SqliteStore, path))


@pytest.fixture
def kept(registry, flaky):
    """A desk whose sessions are kept a moment after they changed."""
    return Desk(registry, limits=LIMITS, open_store=flaky.open)


class SetDesk(Desk):
    """A desk whose wall clock can be set."""

    ahead_seconds = 0.0

    def unix_now(self) -> float:
        return super().unix_now() + self.ahead_seconds


def under(session, view, revision, inputs=None, **fields):
    """A write under a revision."""
    return make_write(session, inputs, incarnation=view.state.incarnation, revision=revision, **fields)


def vector(desk, session):
    """The whole output at the end of the tape, without moving it."""
    position = desk.get(session).state.position
    return desk.write(session, None, at=position, vector=True).steps[0].vector.tolist()


@pytest.mark.parametrize("durability", ["async", "sync"])
def test_a_tape_that_was_only_cut_is_whole_after_a_restart(registry, path, durability):
    """Going back without writing leaves a record that ends where the tape does."""
    desk = Desk(registry, limits=LIMITS, open_store=partial(SqliteStore, path), durability=durability)
    session, straight = desk.create().session_id, desk.create().session_id
    desk.write(session, [14, 15, 16, 17, 18])
    desk.store()
    desk.write(session, None, at=2)
    desk.store()
    desk.restart(store_first=False)
    desk.write(straight, [14, 15])
    assert desk.get(session).state.position == 2
    assert vector(desk, session) == vector(desk, straight)


def test_an_identifier_that_is_used_again_at_once_is_a_new_session(kept):
    """A change that was noted for the session before is not taken for one of the new session."""
    kept.create(session_id="mine")
    kept.write("mine", [14])
    kept.one(DeleteSession(session_id="mine"))
    kept.create(session_id="mine")
    kept.store()
    kept.restart(store_first=False)
    assert kept.get("mine").state.position == 0


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


def test_what_was_deleted_before_the_store_heard_of_it_stays_deleted(kept):
    """A session made by a suggestion reaches the store late, and not at all when it is deleted before."""
    session = kept.suggest(None, "how are you ").session_id
    tickets = kept.send(DeleteSession(session_id=session))
    kept.now += 0.05
    kept.tick()
    kept.settle(tickets)
    kept.store()
    assert kept.one(ListStored(after="", limit=9)).lines == ()
    with pytest.raises(SessionNotFound):
        kept.write(session, [14])


def test_a_repeated_fork_needs_no_slot(registry):
    """The answer is told of the fork where it lies, though its source has the only slot."""
    desk = Desk(registry, limits=SessionLimits(max_live_sessions=1))
    source = desk.create().session_id
    desk.write(source, [14, 15])
    fork = ForkSession(session_id=source, request_id="f")
    first = desk.one(fork)
    tickets = desk.send(fork)
    for _ in range(5):
        desk.tick()
    assert [outcome.session_id for ticket, outcome in desk.answers if ticket is tickets[0]] == [
        first.session_id
    ]


def test_a_repeat_is_answered_though_the_features_before_it_are_forgotten(registry):
    """What a write's state is computed from is let go only after the state was computed."""
    values = np.random.default_rng(3).normal(size=(300, 3)).astype(np.float32)
    for early in range(64, 82):
        desk = Desk(registry)
        view = desk.create("motion")
        session = view.session_id
        desk.write(session, values[:early])
        first = desk.one(under(session, view, 2, values[early : early + 1], at=early, vector=True))
        desk.one(under(session, view, 3, values[early + 1 : 130], at=early + 1))
        desk.now += 61
        desk.tick()
        desk.one(under(session, view, 4, values[130:144], at=130))
        again = desk.one(under(session, view, 2, values[early : early + 1], at=early, vector=True))
        assert again.repeated
        assert again.steps[0].vector.tolist() == first.steps[0].vector.tolist()


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


def test_the_lag_is_that_of_the_longest_wait(kept, flaky):
    """Also when what was changed first has failed together with what was changed later."""
    first, later = kept.create().session_id, kept.create().session_id
    flaky.down = True
    kept.write(first, [14])
    for _ in range(19):
        kept.now += 3
        kept.store()
    kept.write(later, [14])
    for _ in range(5):
        kept.now += 3
        kept.store()
        assert kept.lane._keeper.lag_seconds > 60


@pytest.mark.parametrize("cut_to", [1, 2, 3, 5])
def test_a_record_is_whole_after_answers_were_lost(kept, flaky, cut_to):
    """What the store may have of a longer or shorter tape is written over."""
    session, straight = kept.create().session_id, kept.create().session_id
    kept.write(session, [14, 15, 16])
    kept.store()
    flaky.loses_answers = True
    kept.write(session, [17, 18, 19])
    kept.store()
    kept.write(session, None, at=cut_to)
    flaky.loses_answers = False
    kept.now += 3
    kept.store()
    kept.restart(store_first=False)
    kept.write(straight, [14, 15, 16, 17, 18, 19][:cut_to])
    assert kept.get(session).state.position == cut_to
    assert vector(kept, session) == vector(kept, straight)


def test_a_drain_during_a_flush_leaves_whole_records(kept):
    """What is stored at the end comes after what was on its way, and takes back what that made too much."""
    session = kept.create().session_id
    kept.write(session, [14, 15, 16])
    kept.store()
    kept.write(session, [17, 18] * 600)
    kept.now += 0.05
    kept.tick()
    kept.send(make_write(session, None, at=3))
    while kept.lane.unfinished:
        kept.lane.run(kept.answers)
    kept.lane.abandon(kept.answers)
    kept.worker.close(1.0)
    kept._restarts += 1
    kept._open()
    assert kept.get(session).state.position == 3
    assert vector(kept, session)


def test_a_retry_is_answered_after_the_session_rested_without_the_tape_before_it(registry):
    """A state that the remaining tape does not give is kept."""
    values = np.random.default_rng(3).normal(size=(300, 3)).astype(np.float32)
    desk = Desk(registry)
    view = desk.create("motion")
    session = view.session_id
    desk.write(session, values[:70])
    desk.write(session, values[70:72])
    desk.write(session, values[72:200])
    desk.write(session, values[70:73], at=70)
    first = desk.one(under(session, view, 5, values[73:75], at=73, vector=True))
    desk.now += 61
    desk.tick()
    again = desk.one(under(session, view, 5, values[73:75], at=73, vector=True))
    assert again.repeated
    assert again.steps[0].vector.tolist() == first.steps[0].vector.tolist()


def test_a_retry_is_answered_after_the_session_rested_though_no_tapes_are_kept(registry, path):
    """Of a session that came back without its tape, states that its new steps do not give are kept."""
    desk = Desk(registry, limits=LIMITS, open_store=partial(SqliteStore, path), keeps_tapes=False)
    session = desk.create().session_id
    desk.write(session, [14, 15, 16])
    desk.store()
    desk.restart(store_first=True)
    view = desk.get(session)
    desk.one(under(session, view, 2, [17, 18], at=3))
    first = desk.one(under(session, view, 3, [19], at=5, vector=True))
    desk.store()
    desk.now += 61
    desk.tick()
    again = desk.one(under(session, view, 3, [19], at=5, vector=True))
    assert again.steps[0].vector.tolist() == first.steps[0].vector.tolist()


class StoreThatFailsFor:
    """A store that cannot read some records, and tells how often it was asked."""

    def __init__(self, damaged: Container[str]) -> None:
        self.damaged = damaged
        self.asked = 0

    def claim(self, session_ids: list[str], *, owner: str, incarnation: int) -> list[None]:
        self.asked += 1
        if any(session_id in self.damaged for session_id in session_ids):
            raise StoreFailure("cannot be read")
        return [None] * len(session_ids)


@pytest.mark.parametrize(("damaged", "failed", "asked"), [(range(100), 100, 4), ([0, 7, 8, 9], 4, 101)])
def test_of_claims_together_those_fail_that_cannot_be_read(damaged, failed, asked):
    """One damaged record harms no other session; a store that is down is not asked for each of a hundred."""
    store = StoreThatFailsFor([str(number) for number in damaged])
    worker = StoreWorker(
        cast("SessionStore", store),
        owner="o",
        done=lambda: None,
        told_seconds=lambda *_: None,
        new_incarnation=lambda: 1,
    )
    outcomes: list[object] = []
    for number in range(100):
        worker.claim(str(number), outcomes.append)
    worker.work()
    worker.collect()
    assert sum(isinstance(outcome, StoreFailure) for outcome in outcomes) == failed
    assert (len(outcomes), store.asked) == (100, asked)


def test_who_lost_against_another_writer_is_remembered_while_the_session_rests(registry):
    """Though another session takes its slot before the loser's next write arrives, that is refused."""
    desk = Desk(registry, limits=SessionLimits(max_live_sessions=1))
    view, other = desk.create(), desk.create().session_id
    desk.one(under(view.session_id, view, 1, [14], at=0))
    loser = NoSink()

    def sent_by_loser(revision):
        operation = under(view.session_id, view, revision, [20], at=revision - 1)
        return Ticket(operation=operation, sink=loser, tag=100 + revision, received_seconds=desk.now)

    first, second = sent_by_loser(1), sent_by_loser(2)
    desk.lane.accept([first], desk.answers)
    assert isinstance(desk.settle([first])[0], RevisionConflict)
    desk.write(other, [15])
    desk.lane.accept([second], desk.answers)
    assert isinstance(desk.settle([second])[0], PrecedingWriteRefused)


def test_a_write_whose_session_is_taken_over_meanwhile_gives_all_rows_back(registry, tmp_path):
    """Also the rows of states that it computed for answering earlier writes again."""
    with RedisServer(tmp_path) as redis:
        one, two = (
            Desk(registry, open_store=partial(RedisStore, redis.url), owner=f"replica-{number}")
            for number in (1, 2)
        )
        view = one.create()
        for revision in range(1, 7):
            one.one(under(view.session_id, view, revision, [13 + revision], at=revision - 1))
        one.store()
        one.now += 61
        one.tick()
        one.one(under(view.session_id, view, 7, [20], at=6))
        two.write(view.session_id, [21])
        (cutting,) = one.send(under(view.session_id, view, 8, [22], at=2))
        one.store()
        (outcome,) = one.settle([cutting])
        assert isinstance(outcome, SessionMoved)
        assert one.lane._hosts.get("keyboard").rows.in_use == 0
        assert two.get(view.session_id).state.position == 7
        one.leave()
        two.leave()


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
