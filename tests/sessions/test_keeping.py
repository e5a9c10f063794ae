"""What a state store keeps: sessions outlive the process, as far as their replies said, and never twice."""

from functools import partial

import numpy as np
import pytest
from gatehouse_server.engine.observer import Happening
from gatehouse_server.errors import (
    ModelNotLoaded,
    RevisionConflict,
    SessionExists,
    SessionMoved,
    SessionNotFound,
    StateBehind,
    StoreUnavailable,
)
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import (
    CreateSession,
    DeleteSession,
    EvictSession,
    ForkSession,
    GetSession,
    InspectSession,
    ListResidents,
    ListStored,
)
from gatehouse_server.stores.port import Change, Tombstone
from gatehouse_server.stores.redis import RedisStore
from gatehouse_server.stores.sqlite import SqliteStore

from tests.sessions.desk import Desk, make_write
from tests.sessions.flaky import FlakyStore
from tests.stores.redis_server import RedisServer

LIMITS = SessionLimits(max_sessions=64, max_live_sessions=8, max_resident_sessions=16)


@pytest.fixture
def path(tmp_path):
    """Where the store is."""
    return tmp_path / "sessions.db"


@pytest.fixture(params=["async", "sync"])
def kept(request, registry, path):
    """A desk whose sessions are kept, in either mode."""
    return Desk(registry, limits=LIMITS, open_store=partial(SqliteStore, path), durability=request.param)


@pytest.fixture
def flaky(path):
    """A store that can be made to fail."""
    return FlakyStore(partial(SqliteStore, path))


def under(session, view, revision, inputs=None, **fields):
    """A write under a revision."""
    return make_write(session, inputs, incarnation=view.state.incarnation, revision=revision, **fields)


def vector(desk, session, **fields):
    """The whole output at the end of the tape, without moving it."""
    position = desk.get(session).state.position
    return desk.write(session, None, at=position, vector=True, **fields).steps[0].vector.tolist()


def test_sync_answers_when_the_write_is_stored(registry, path):
    """In sync mode the durable revision is the revision, in every answer."""
    desk = Desk(registry, limits=LIMITS, open_store=partial(SqliteStore, path), durability="sync")
    view = desk.create()
    for revision in (1, 2, 3):
        state = desk.one(under(view.session_id, view, revision, [14], at=revision - 1)).state
        assert state.durable_revision == state.revision == revision
    desk.restart(store_first=False)
    assert desk.get(view.session_id).state.revision == 3


def test_async_answers_first_and_stores_a_moment_later(registry, path):
    """The durable revision trails, and says what a sudden end leaves."""
    desk = Desk(registry, limits=LIMITS, open_store=partial(SqliteStore, path))
    view = desk.create()
    assert desk.one(under(view.session_id, view, 1, [14], at=0)).state.durable_revision == 0
    desk.store()
    assert desk.get(view.session_id).state.durable_revision == 1
    desk.one(under(view.session_id, view, 2, [15], at=1))
    desk.restart(store_first=False)
    assert desk.get(view.session_id).state.revision == 1


def test_a_drain_stores_everything(registry, path):
    """What was applied before the end of the process is there after it."""
    desk = Desk(registry, limits=LIMITS, open_store=partial(SqliteStore, path))
    view = desk.create()
    desk.one(under(view.session_id, view, 1, [14], at=0))
    desk.lane.abandon(desk.answers)
    desk.leave()
    desk._open()
    assert desk.get(view.session_id).state.revision == 1


def test_a_session_goes_on_after_a_restart_as_if_nothing_had_happened(kept):
    """The state, the tape behind it and every position of it are the same to the bit."""
    session, straight = kept.create().session_id, kept.create().session_id
    tape = [13 + (7 * step) % 40 for step in range(1500)]
    for begin in range(0, 1500, 100):
        kept.write(session, tape[begin : begin + 100])
    kept.store()
    kept.restart(store_first=False)
    for at in (1500, 1499, 1024, 700, 3):
        kept.write(straight, tape[:at], at=0)
        kept.write(session, None, at=at)
        assert vector(kept, session) == vector(kept, straight)


def test_features_go_on_after_a_restart_and_can_still_go_back(kept):
    """The last feature vectors and the states between them are kept too."""
    values = np.random.default_rng(3).normal(size=(200, 3)).astype(np.float32)
    session, straight = kept.create("motion").session_id, kept.create("motion").session_id
    for begin in range(0, 200, 8):
        kept.write(session, values[begin : begin + 8])
    kept.store()
    kept.restart(store_first=False)
    oldest = kept.get(session).state.oldest_restorable_position
    assert oldest <= 200 - 64
    for at in (200, 190, 150, oldest):
        kept.write(straight, values[:at], at=0)
        kept.write(session, None, at=at)
        assert vector(kept, session) == vector(kept, straight)


def test_a_restart_is_a_new_life(kept):
    """A write meant for the life before is told where the session stands now, even if its revision would fit."""
    view = kept.create()
    kept.one(under(view.session_id, view, 1, [14], at=0))
    kept.store()
    kept.restart(store_first=True)
    with pytest.raises(StateBehind) as caught:
        kept.one(under(view.session_id, view, 2, [15], at=1))
    assert caught.value.metadata["revision"] == "1"
    assert int(caught.value.metadata["incarnation"]) > view.state.incarnation
    assert kept.counts.happenings[Happening.SESSION_RECOVERED] == 1


def test_a_write_repeated_after_a_restart_is_recognised(kept):
    """The same write under the new incarnation gets the same answer, and other content is a conflict."""
    view = kept.create()
    first = kept.one(under(view.session_id, view, 1, [14, 15], at=0, vector=True))
    kept.one(under(view.session_id, view, 2, [16], at=1))
    kept.store()
    kept.restart(store_first=True)
    now = kept.get(view.session_id)
    again = kept.one(under(view.session_id, now, 1, [14, 15], at=0, vector=True))
    assert again.repeated
    assert again.state.revision == 1
    assert again.steps[0].vector.tolist() == first.steps[0].vector.tolist()
    with pytest.raises(RevisionConflict):
        kept.one(under(view.session_id, now, 2, [17], at=1))


def test_a_repeat_is_answered_though_the_tape_was_cut_after_the_restart(kept):
    """A state that only the old tape gives is computed before the tape is cut."""
    view = kept.create()
    tokens = list(range(14, 20))
    answers = [
        kept.one(under(view.session_id, view, number + 1, [token], at=number, vector=True))
        for number, token in enumerate(tokens)
    ]
    kept.store()
    kept.restart(store_first=True)
    now = kept.get(view.session_id)
    kept.one(under(view.session_id, now, 7, [30], at=2))
    for number in (5, 3, 0):
        again = kept.one(under(view.session_id, now, number + 1, [tokens[number]], at=number, vector=True))
        assert again.steps[0].vector.tolist() == answers[number].steps[0].vector.tolist()
    kept.store()
    kept.restart(store_first=True)
    now = kept.get(view.session_id)
    again = kept.one(under(view.session_id, now, 6, [tokens[5]], at=5, vector=True))
    assert again.steps[0].vector.tolist() == answers[5].steps[0].vector.tolist()


def test_sessions_without_end_go_through_few_slots(kept):
    """More sessions than memory may hold: all of them go on where they were."""
    sessions = [kept.create().session_id for _ in range(40)]
    for turn in range(3):
        for number, session in enumerate(sessions):
            state = kept.write(session, [13 + number, 14 + turn]).state
            assert state.position == 2 * turn + 2
        kept.store()
        kept.tick()
    gauges = kept.counts.last_gauges
    assert gauges.live_sessions <= 8
    assert gauges.live_sessions + gauges.packed_sessions <= 16
    assert gauges.stored_sessions == 40
    assert {kept.get(session).state.incarnation for session in sessions} == {
        kept.one(InspectSession(session_id=session)).incarnation for session in sessions
    }


def test_coming_back_from_the_store_is_no_new_life_in_the_same_process(registry, path):
    """A session that was moved out to make room has the incarnation that it had."""
    desk = Desk(registry, limits=LIMITS, open_store=partial(SqliteStore, path), durability="sync")
    view = desk.create()
    desk.one(under(view.session_id, view, 1, [14], at=0))
    for _ in range(30):
        desk.write(desk.create().session_id, [14])
        desk.tick()
    assert view.session_id not in desk.one(ListResidents()).session_ids
    assert desk.one(under(view.session_id, view, 2, [15], at=1)).state.position == 2


def test_an_idle_session_is_one_state_and_its_tokens(registry):
    """What rests in memory takes little more than its state and four bytes a token, whatever it was through."""
    desk = Desk(registry)
    session = desk.create().session_id
    for step in range(200):
        desk.write(session, [13 + step % 40, 20], at=desk.get(session).state.position - (step % 5 == 4))
    position = desk.get(session).state.position
    before = vector(desk, session)
    desk.now += 61
    desk.tick()
    line = desk.one(InspectSession(session_id=session))
    state_bytes = desk.lane._hosts.get("keyboard").engine.bytes_per_row
    assert line.tier == "host"
    assert line.size_bytes < (1 + position // 256) * state_bytes + 4 * position + 300
    assert desk.counts.last_gauges.state_bytes == 0
    assert vector(desk, session) == before


@pytest.mark.parametrize("rest", [True, False])
def test_going_back_below_what_is_known_keeps_what_is_behind_it(desk, rest):
    """A recent state can lie before the feature vectors that are kept; from there on all can be gone back to, also
    after the session rested.
    """
    values = np.random.default_rng(7).normal(size=(200, 3)).astype(np.float32)
    session, straight = desk.create("motion").session_id, desk.create("motion").session_id
    desk.write(session, values[:17])
    desk.write(session, values[17:200])
    assert desk.get(session).state.oldest_restorable_position > 17
    desk.write(session, values[17:20], at=17)
    for begin in range(20, 35):
        desk.write(session, values[begin : begin + 1])
    if rest:
        desk.now += 61
        desk.tick()
    assert desk.get(session).state.oldest_restorable_position == 17
    for at in (30, 21, 17):
        desk.write(session, None, at=at)
        desk.write(straight, values[:at], at=0)
        assert vector(desk, session) == vector(desk, straight)


@pytest.mark.parametrize("rest", [True, False])
def test_only_the_last_writes_are_answered_again(desk, rest):
    """Writes without a revision and suggestions count among them, also when the session rested in between."""
    view = desk.create()
    first = under(view.session_id, view, 1, [14], at=0, k=1)
    desk.one(first)
    for _ in range(4):
        desk.write(view.session_id, [15])
    if rest:
        desk.now += 61
        desk.tick()
    for _ in range(3):
        desk.write(view.session_id, [16])
    assert desk.one(first).repeated
    desk.write(view.session_id, [16])
    with pytest.raises(RevisionConflict):
        desk.one(first)


def test_a_created_session_survives_at_once(kept):
    """Creating is answered when it is stored, in either mode."""
    view = kept.create(session_id="mine")
    kept.restart(store_first=False)
    assert kept.get("mine").state.position == 0
    with pytest.raises(SessionExists):
        kept.create(session_id="mine")
    assert view.session_id == "mine"


def test_a_creation_repeated_after_a_restart_gives_the_first_session(kept):
    """The same request makes one session, however often it is sent, and none after that was deleted."""
    create = CreateSession(model="keyboard", request_id="r-1")
    first = kept.one(create)
    kept.restart(store_first=False)
    assert kept.one(create).session_id == first.session_id
    kept.one(DeleteSession(session_id=first.session_id, request_id="d-1"))
    kept.one(DeleteSession(session_id=first.session_id, request_id="d-1"))
    with pytest.raises(SessionNotFound) as caught:
        kept.one(create)
    assert caught.value.reason == "SESSION_DELETED"


def test_the_last_end_of_an_identifier_is_the_one_that_is_told(kept):
    """Also when it was used again in between, so shortly that the store had not heard of it."""
    kept.suggest("mine", "how are ")
    kept.store()
    kept.one(EvictSession(session_id="mine"))
    kept.suggest("mine", "how ")
    delete = DeleteSession(session_id="mine", request_id="r")
    kept.one(delete)
    kept.restart(store_first=True)
    kept.one(delete)
    with pytest.raises(SessionNotFound) as caught:
        kept.get("mine")
    assert caught.value.reason == "SESSION_DELETED"


def test_a_deletion_holds_after_a_restart(kept):
    """A deleted session stays deleted, is told so, and nothing of its tape is left in the file."""
    session = kept.create().session_id
    kept.write(session, [20, 21, 22, 23] * 10)
    kept.store()
    kept.one(DeleteSession(session_id=session))
    kept.restart(store_first=False)
    with pytest.raises(SessionNotFound) as caught:
        kept.write(session, [14])
    assert caught.value.reason == "SESSION_DELETED"


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


def test_a_refused_write_is_forgotten_with_the_life_it_was_sent_to(desk):
    """A fork is not told that something before it was refused which was sent to its source."""
    view = desk.create()
    desk.ask(under(view.session_id, view, 1, [10**6], at=0))
    fork = desk.one(ForkSession(session_id=view.session_id))
    with pytest.raises(StateBehind):
        desk.one(under(fork.session_id, fork, 5, [14], at=0))


def test_a_move_without_steps_survives_a_restart(kept):
    """Where the tape was cut and nothing put, it ends there afterwards too."""
    session = kept.create().session_id
    kept.write(session, list(range(14, 45)))
    kept.store()
    kept.write(session, None, at=30)
    kept.store()
    kept.restart(store_first=False)
    assert kept.write(session, [20]).state.position == 31


def test_without_tapes_at_rest_a_session_can_only_go_on(registry, path):
    """A setting keeps what users wrote out of the store; the state goes on, and nothing before it is there."""
    desk = Desk(registry, limits=LIMITS, open_store=partial(SqliteStore, path), keeps_tapes=False)
    straight = desk.create().session_id
    view = desk.create()
    tape = [20, 21, 22, 23] * 10
    desk.one(under(view.session_id, view, 1, tape, at=0))
    desk.store()
    desk.restart(store_first=True)
    files = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert np.array(tape, dtype=np.int32).tobytes() not in files
    now = desk.get(view.session_id)
    assert now.state.oldest_restorable_position == now.state.position == 40
    with pytest.raises(Exception, match="not kept") as caught:
        desk.write(view.session_id, [14], at=20)
    assert caught.value.reason == "POSITION_NOT_RETAINED"
    desk.write(straight, [*tape, 14])
    desk.write(view.session_id, [14])
    assert vector(desk, view.session_id) == vector(desk, straight)
    desk.store()
    desk.write(view.session_id, [15])
    desk.restart(store_first=True)
    assert desk.write(view.session_id, [16], at=0).state.position == 1


def test_a_model_that_is_not_served_any_more_keeps_its_sessions(kept, models):
    """They are refused, told why, and there again when the model is."""
    session = kept.create("motion").session_id
    kept.write(session, np.ones((3, 3), dtype=np.float32))
    kept.store()
    whole = kept.registry
    kept.leave()
    kept.registry = Registry([model for model in whole.models if model.name != "motion"], ())
    kept._restarts += 1
    kept._open()
    with pytest.raises(ModelNotLoaded):
        kept.write(session, np.ones((3, 3), dtype=np.float32))
    kept.registry = whole
    kept.restart(store_first=False)
    assert kept.write(session, np.ones((1, 3), dtype=np.float32)).state.position == 4


# --- When the store fails ------------------------------------------------------------------------------


def test_async_goes_on_without_the_store_for_a_while(registry, flaky):
    """Writes are answered while the store is down, until too much is at risk; afterwards everything is worked off."""
    desk = Desk(registry, limits=LIMITS, open_store=flaky.open)
    sessions = [desk.create().session_id for _ in range(5)]
    flaky.down = True
    for session in sessions:
        assert desk.write(session, [14]).state.durable_revision == 0
    desk.store()
    assert desk.lane.store_warning() is not None
    assert desk.counts.last_gauges.unsaved_sessions == 5
    desk.now += 59
    assert desk.write(sessions[0], [15]).state.position == 2
    desk.now += 2
    with pytest.raises(StoreUnavailable) as caught:
        desk.write(sessions[0], [16])
    assert caught.value.reason == "STORE_LAGGING"
    desk.tick()
    assert "writes are refused" in desk.lane.store_problem()
    flaky.down = False
    desk.now += 3
    desk.store()
    assert desk.write(sessions[0], [16]).state.position == 3
    desk.store()
    assert (desk.lane.store_problem(), desk.lane.store_warning()) == (None, None)
    desk.restart(store_first=False)
    assert [desk.get(session).state.revision for session in sessions] == [3, 1, 1, 1, 1]


def test_lost_answers_of_the_store_cost_nothing(registry, flaky):
    """When it is unknown what the store has, it is written again, and nothing superfluous stays behind."""
    desk = Desk(registry, limits=LIMITS, open_store=flaky.open)
    session, straight = desk.create().session_id, desk.create().session_id
    desk.write(session, [14, 15, 16])
    flaky.loses_answers = True
    desk.store()
    desk.write(session, [20], at=1)
    desk.now += 3
    desk.store()
    flaky.loses_answers = False
    desk.write(session, [21, 22], at=1)
    desk.now += 3
    desk.store()
    size_bytes = {line.session_id: line.size_bytes for line in desk.one(ListStored(after="", limit=9)).lines}
    desk.write(straight, [14, 21, 22])
    desk.store()
    desk.restart(store_first=False)
    assert vector(desk, session) == vector(desk, straight)
    straight_bytes = desk.one(InspectSession(session_id=straight)).size_bytes
    assert size_bytes[session] < 2 * straight_bytes


def test_a_sync_write_that_is_not_stored_changes_nothing(registry, flaky):
    """It is refused; the session is what it was, when the store is back."""
    desk = Desk(registry, limits=LIMITS, open_store=flaky.open, durability="sync")
    view = desk.create()
    desk.one(under(view.session_id, view, 1, [14], at=0))
    flaky.down = True
    with pytest.raises(StoreUnavailable):
        desk.one(under(view.session_id, view, 2, [15], at=1))
    assert desk.lane.store_problem() is not None
    flaky.down = False
    assert desk.get(view.session_id).state.revision == 1
    assert desk.one(under(view.session_id, view, 2, [15], at=1)).state.position == 2
    assert desk.lane.store_problem() is None


def test_a_sync_write_whose_fate_is_unknown_is_looked_up(registry, flaky):
    """The store had taken it: the repeat is recognised, and the state has not moved twice."""
    desk = Desk(registry, limits=LIMITS, open_store=flaky.open, durability="sync")
    view = desk.create()
    flaky.loses_answers = True
    write = under(view.session_id, view, 1, [14], at=0, k=1)
    with pytest.raises(StoreUnavailable):
        desk.one(write)
    flaky.loses_answers = False
    again = desk.one(write)
    assert again.repeated
    assert again.state.position == again.state.revision == 1


def put_back(desk, session, **changed):
    """Takes the store's record of a session back to what it is now, or to that with something changed, when called."""
    store = desk.worker._store
    (record,) = store.claim([session], owner=desk.worker.owner, incarnation=0)

    def put() -> None:
        store.remove(session, Tombstone(why="SESSION_EXPIRED"))
        store.apply(
            [
                Change(
                    summary=record.summary, head=record.head, parts={**record.parts, **changed}, creates=True
                )
            ]
        )

    return put


def test_a_store_that_went_back_gets_the_whole_session_again(kept):
    """A change carries only what is new; on an older record than it was made for it would leave half a session."""
    session, straight = kept.create().session_id, kept.create().session_id
    tape = [13 + step % 40 for step in range(2000)]
    kept.write(session, tape[:600])
    kept.store()
    put = put_back(kept, session)
    kept.write(session, tape[600:1990])
    kept.store()
    put()
    kept.write(session, tape[1990:])
    kept.store()
    kept.store()
    kept.restart(store_first=False)
    kept.write(straight, tape)
    assert vector(kept, session) == vector(kept, straight)
    kept.write(session, None, at=900)
    kept.write(straight, None, at=900)
    assert vector(kept, session) == vector(kept, straight)


def test_a_session_that_cannot_be_read_harms_nobody_else(kept):
    """It is told as damaged by name; a suggestion makes it anew from its text."""
    broken, whole = kept.create().session_id, kept.create().session_id
    for session in (broken, whole):
        kept.write(session, [20, 21])
    kept.store()
    put_back(kept, broken, i0=b"\0\0\0\0garbage!")()
    kept.restart(store_first=True)
    damaged, fine = kept.ask(make_write(broken, [14]), make_write(whole, [14]))
    assert damaged.reason == "SESSION_DAMAGED"
    assert broken in damaged.message
    assert fine.state.position == 3
    assert kept.suggest(broken, "how are ").rebuilt
    assert kept.write(broken, [14]).state.position == 3


@pytest.mark.parametrize(
    "operation",
    [
        CreateSession(model="keyboard", request_id="r"),
        ForkSession(session_id="source", request_id="r"),
        DeleteSession(session_id="source", request_id="r"),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_what_makes_or_ends_a_session_needs_the_store(registry, flaky, operation):
    """It is refused while the store is down, and done once when it is sent again."""
    desk = Desk(registry, limits=LIMITS, open_store=flaky.open)
    desk.create(session_id="source")
    flaky.down = True
    with pytest.raises(StoreUnavailable):
        desk.one(operation)
    flaky.down, flaky.loses_answers = False, True
    with pytest.raises(StoreUnavailable):
        desk.one(operation)
    flaky.loses_answers = False
    desk.one(operation)
    stored = desk.one(ListStored(after="", limit=9)).lines
    assert len(stored) == (0 if isinstance(operation, DeleteSession) else 2)


# --- Several servers on one store ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    """A Redis for this module."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running.url


@pytest.fixture
def replicas(registry, redis_url, request):
    """Two servers on one Redis."""
    made = [
        Desk(
            registry,
            limits=LIMITS,
            open_store=partial(RedisStore, redis_url, prefix=request.node.name),
            owner=f"replica-{number}",
        )
        for number in (1, 2)
    ]
    yield made
    for desk in made:
        desk.leave()


def test_a_session_can_be_taken_over_by_another_server(replicas):
    """It goes on there from what was stored, in a new life; the first server drops its copy."""
    one, two = replicas
    view = one.create()
    one.one(under(view.session_id, view, 1, [14, 15], at=0))
    one.store()
    one.one(under(view.session_id, view, 2, [16], at=2))
    with pytest.raises(StateBehind) as caught:
        two.one(under(view.session_id, view, 3, [17], at=3))
    assert caught.value.metadata["revision"] == "1"
    now = two.get(view.session_id)
    two.one(under(view.session_id, now, 2, [16], at=2))
    two.store()
    one.store()
    assert one.counts.happenings[Happening.SESSION_MOVED] == 1
    assert view.session_id not in one.one(ListResidents()).session_ids
    assert two.get(view.session_id).state.durable_revision == 2


def test_a_server_that_lost_a_session_does_not_write_over_it(replicas):
    """Its late flush is refused by the store, and asked for the session it takes it back as it is now."""
    one, two = replicas
    view = one.create()
    one.one(under(view.session_id, view, 1, [14], at=0))
    one.store()
    now = two.one(GetSession(session_id=view.session_id))
    two.write(view.session_id, [20, 21])
    two.store()
    one.one(under(view.session_id, view, 2, [15], at=1))
    one.store()
    assert two.get(view.session_id).state.position == 3
    with pytest.raises(StateBehind) as caught:
        one.one(under(view.session_id, now, 3, [16], at=2))
    assert caught.value.metadata["position"] == "3"


def test_a_write_that_knows_more_than_a_server_is_looked_up_before_it_is_refused(replicas):
    """Back at the first server, a client's next write meets the session as the other server left it."""
    one, two = replicas
    view = one.create()
    one.one(under(view.session_id, view, 1, [14], at=0))
    one.store()
    two.write(view.session_id, [15])
    two.store()
    there = two.get(view.session_id)
    with pytest.raises(StateBehind) as caught:
        one.one(under(view.session_id, there, 3, [16], at=2))
    assert caught.value.metadata["position"] == "2"
    now = one.get(view.session_id)
    assert one.one(under(view.session_id, now, 3, [16], at=2)).state.position == 3


def test_a_write_without_a_revision_goes_to_the_session_as_it_is_now(replicas):
    """Nothing protects it, so the server makes sure that the session is still its own."""
    one, two = replicas
    session = one.create().session_id
    one.write(session, [14])
    one.store()
    two.write(session, [15])
    two.store()
    assert one.write(session, [16]).state.position == 3


def test_a_sync_write_of_a_session_that_moved_is_told_so(registry, redis_url, request):
    """Nothing is applied, and asked again the server has the session as it is."""
    one, two = (
        Desk(
            registry,
            limits=LIMITS,
            open_store=partial(RedisStore, redis_url, prefix=request.node.name),
            owner=f"replica-{number}",
            durability="sync",
        )
        for number in (1, 2)
    )
    view = one.create()
    one.one(under(view.session_id, view, 1, [14], at=0))
    two.write(view.session_id, [15])
    with pytest.raises(SessionMoved):
        one.one(under(view.session_id, view, 2, [16], at=1))
    with pytest.raises(StateBehind) as caught:
        one.one(under(view.session_id, view, 2, [16], at=1))
    assert caught.value.metadata["position"] == "2"
    for desk in (one, two):
        desk.leave()
