"""Sessions are made once and end for good, also over a restart and where the store hears of them late."""

import pytest
from gatehouse_server.errors import InvalidInput, ModelNotFound, SessionExists, SessionNotFound, StateBehind
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import (
    CreateSession,
    DeleteSession,
    EvictSession,
    ForkSession,
    ListStored,
)

from tests.sessions.desk import Desk
from tests.sessions.keeping import under


def test_a_model_that_is_not_there_or_not_online_is_named(desk):
    """No session on an unknown model, nor on one that reads whole documents; the error says why."""
    with pytest.raises(ModelNotFound):
        desk.create("nothing")
    with pytest.raises(InvalidInput, match="bidirectional") as caught:
        desk.create("topics")
    assert caught.value.violations[0].field == "model"


def test_a_request_id_makes_creating_repeatable(desk):
    """Repeating a creation under its request_id answers with the same session."""
    first, second = desk.ask(
        CreateSession(model="keyboard", request_id="r1"), CreateSession(model="keyboard", request_id="r1")
    )
    assert first.session_id == second.session_id


def test_a_request_id_of_another_model_makes_nothing(kept):
    """It names the session that it made; a call that wants one on another model is told so, whatever its kind."""
    kept.create(session_id="source")
    made = kept.one(ForkSession(session_id="source", request_id="1"))
    with pytest.raises(SessionExists, match=r"request_id '1'.*wants one on motion"):
        kept.one(CreateSession(model="motion", request_id="1"))
    for model in ("keyboard", "keyboard@1"):
        assert kept.one(CreateSession(model=model, request_id="1")).session_id == made.session_id


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


def test_a_refused_write_is_forgotten_with_the_life_it_was_sent_to(desk):
    """A fork is not told that something before it was refused which was sent to its source."""
    view = desk.create()
    desk.ask(under(view.session_id, view, 1, [10**6], at=0))
    fork = desk.one(ForkSession(session_id=view.session_id))
    with pytest.raises(StateBehind):
        desk.one(under(fork.session_id, fork, 5, [14], at=0))


def test_an_identifier_that_is_used_again_at_once_is_a_new_session(behind):
    """A change that was noted for the session before is not taken for one of the new session."""
    behind.create(session_id="mine")
    behind.write("mine", [14])
    behind.one(DeleteSession(session_id="mine"))
    behind.create(session_id="mine")
    behind.store()
    behind.restart(store_first=False)
    assert behind.get("mine").state.position == 0


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


def test_what_was_deleted_before_the_store_heard_of_it_stays_deleted(behind):
    """A session made by a suggestion reaches the store late, and not at all when it is deleted before."""
    session = behind.suggest(None, "how are you ").session_id
    tickets = behind.send(DeleteSession(session_id=session))
    behind.now += 0.05
    behind.tick()
    behind.settle(tickets)
    behind.store()
    assert behind.one(ListStored(after="", limit=9)).lines == ()
    with pytest.raises(SessionNotFound):
        behind.write(session, [14])


def test_a_lost_session_is_told_apart_from_one_that_never_was(desk):
    """Expired, deleted and unknown sessions have reasons of their own."""
    desk.create(session_id="idle")
    desk.create(session_id="gone")
    desk.one(DeleteSession(session_id="gone"))
    desk.now += desk.limits.idle_seconds
    desk.tick()
    for session_id, reason in (("idle", "EXPIRED"), ("gone", "DELETED"), ("never", "UNKNOWN")):
        with pytest.raises(SessionNotFound) as caught:
            desk.write(session_id, [14])
        assert caught.value.reason == f"SESSION_{reason}"
