"""Several servers on one store: a session is of one of them at a time, and no write lands on the wrong one."""

from functools import partial

import pytest
from gatehouse_server.engine.observer import Happening
from gatehouse_server.errors import SessionMoved, SessionNotFound, StateBehind
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import (
    CreateSession,
    DeleteSession,
    ExportSession,
    ForkSession,
    GetSession,
    InspectSession,
    ListResidents,
)
from gatehouse_server.stores.redis import RedisStore

from tests.sessions.desk import Desk
from tests.sessions.flaky import FlakyStore
from tests.sessions.generating import generate
from tests.sessions.generating import request as what_follows
from tests.sessions.keeping import LIMITS, under
from tests.stores.redis_server import RedisServer


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


def test_why_a_session_ended_is_told_by_every_server(replicas):
    """Whoever ended it, and whatever is asked."""
    one, _ = replicas
    session = one.create().session_id
    one.one(DeleteSession(session_id=session))
    for desk in replicas:
        for operation in (
            GetSession(session_id=session),
            InspectSession(session_id=session),
            ExportSession(session_id=session),
        ):
            with pytest.raises(SessionNotFound) as caught:
                desk.one(operation)
            assert caught.value.reason == "SESSION_DELETED"


def _expire_soon(replicas):
    """A session that is not used for 100 s ends."""
    for desk in replicas:
        desk.limits = SessionLimits(idle_seconds=100, grace_seconds=0.1)
        desk.restart(store_first=True)


def _go_on_elsewhere(one, two, session):
    """Used by one server alone for two minutes; the other one's copy expires."""
    for _ in range(12):
        two.write(session, [14])
        two.store()
        for desk in (one, two):
            desk.now += 10
        one.store()


def test_a_session_that_expired_in_one_server_and_went_on_in_another_is_there(replicas):
    """The first one's memory of its end is out of date: for its creation sent again, and for how it ended at last."""
    one, two = replicas
    _expire_soon(replicas)
    create = CreateSession(model="keyboard", request_id="q")
    session = one.one(create).session_id
    _go_on_elsewhere(one, two, session)
    assert session not in one.one(ListResidents()).session_ids
    two.one(ExportSession(session_id=session))
    assert one.one(create).state.position == 12
    two.one(DeleteSession(session_id=session))
    one.store()
    with pytest.raises(SessionNotFound) as caught:
        one.write(session, [15])
    assert caught.value.reason == "SESSION_DELETED"


def test_what_was_deleted_elsewhere_is_not_said_to_have_expired(replicas):
    """A server whose copy expired says of a session that went on elsewhere what the store says."""
    one, two = replicas
    _expire_soon(replicas)
    session = one.create().session_id
    _go_on_elsewhere(one, two, session)
    two.one(DeleteSession(session_id=session))
    with pytest.raises(SessionNotFound) as caught:
        one.write(session, [15])
    assert caught.value.reason == "SESSION_DELETED"


@pytest.mark.parametrize("kind", [ForkSession, ExportSession])
def test_a_copy_is_of_the_session_as_it_is_now(replicas, kind):
    """A server that another one took the session from copies what is stored, not what it remembers."""
    one, two = replicas
    session = one.create().session_id
    one.write(session, [14])
    one.store()
    two.write(session, [15, 16])
    two.store()
    copy = one.one(kind(session_id=session))
    assert (copy.view if kind is ExportSession else copy).state.position == 3


def test_a_generation_goes_on_from_the_session_as_it_is_now(replicas):
    """A server that another one took the session from, or ended it, does not go on from what it remembers."""
    one, two = replicas
    session = one.create().session_id
    one.write(session, [14, 15])
    one.store()
    two.write(session, [20, 21, 22])
    two.store()
    there, here = (generate(desk, what_follows(session_id=session, max_steps=4)) for desk in (two, one))
    assert here.steps[0][0].position == 5
    assert here.tokens() == there.tokens()
    two.one(DeleteSession(session_id=session))
    with pytest.raises(SessionNotFound) as caught:
        generate(one, what_follows(session_id=session))
    assert caught.value.reason == "SESSION_DELETED"


def test_a_look_at_a_session_tells_what_another_server_made_of_it(replicas):
    """A server that has lost it without knowing looks at the store; one that has it knows more than that."""
    one, two = replicas
    session = one.create().session_id
    one.write(session, [14])
    one.store()
    two.write(session, [15])
    two.store()
    two.write(session, [16])
    assert one.get(session).state.position == 2
    assert two.get(session).state.position == 3
    two.one(DeleteSession(session_id=session))
    with pytest.raises(SessionNotFound) as caught:
        one.get(session)
    assert caught.value.reason == "SESSION_DELETED"


def test_a_look_tells_of_a_session_that_the_store_has_yet_to_hear_of(replicas):
    """One that a suggestion made, under a name that was deleted before."""
    one, _ = replicas
    one.create(session_id="mine")
    one.one(DeleteSession(session_id="mine"))
    one.suggest("mine", "how are ")
    assert one.get("mine").state.position == 2


def test_a_session_in_memory_can_be_seen_while_the_store_is_down(registry, redis_url, request):
    """As it is in memory: nobody can tell then whether another server has taken it over."""
    flaky = FlakyStore(partial(RedisStore, redis_url, prefix=request.node.name))
    desk = Desk(registry, limits=LIMITS, open_store=flaky.open)
    session = desk.create().session_id
    desk.write(session, [14])
    flaky.down = True
    assert desk.one(ExportSession(session_id=session)).view.state.position == 1
    assert desk.get(session).state.position == 1
    assert generate(desk, what_follows(session_id=session, max_steps=1)).steps[0][0].position == 1
    flaky.down = False
    desk.leave()
