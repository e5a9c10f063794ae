"""Several servers on one store: a session is of one of them at a time, and no write lands on the wrong one."""

from functools import partial

import pytest
from gatehouse_server.engine.observer import Happening
from gatehouse_server.errors import SessionMoved, StateBehind
from gatehouse_server.sessions.operations import GetSession, ListResidents
from gatehouse_server.stores.redis import RedisStore

from tests.sessions.desk import Desk
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
