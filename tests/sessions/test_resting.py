"""Sessions that leave the state table, and memory, take little place and come back as they were."""

from functools import partial

import numpy as np
import pytest
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import PrecedingWriteRefused, RevisionConflict
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import InspectSession, ListResidents
from gatehouse_server.stores.sqlite import SqliteStore

from tests.sessions.desk import Desk, NoSink, make_write
from tests.sessions.keeping import LIMITS, under, vector


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


def test_a_session_that_waits_for_a_slot_gets_one_from_pipelines(registry):
    """Also when each session in the state table always has its next write waiting."""
    desk = Desk(registry, limits=SessionLimits(max_live_sessions=2))
    busy = [desk.create().session_id for _ in range(2)]
    waiting = desk.create().session_id
    desk.answers.clear()
    desk.send(*(make_write(session, [14]) for session in busy * 2))
    desk.send(make_write(waiting, [15]))
    answered = dict.fromkeys([*busy, waiting], 0)
    for _ in range(40):
        done, desk.answers[:] = [each.operation.session_id for each, _ in desk.answers], []
        for session in done:
            answered[session] += 1
            desk.send(make_write(session, [14]))
        desk.tick()
    assert min(answered.values()) > max(answered.values()) / 2
