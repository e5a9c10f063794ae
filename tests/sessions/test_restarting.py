"""Kept sessions outlive the process, as far as their replies said: on they go as if nothing had happened."""

from functools import partial

import numpy as np
import pytest
from gatehouse_server.engine.observer import Happening
from gatehouse_server.errors import ModelNotLoaded, RevisionConflict, StateBehind
from gatehouse_server.models.registry import Registry
from gatehouse_server.stores.sqlite import SqliteStore

from tests.sessions.desk import Desk, make_write
from tests.sessions.keeping import LIMITS, under, vector


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


def test_a_drain_during_a_flush_leaves_whole_records(behind):
    """What is stored at the end comes after what was on its way, and takes back what that made too much."""
    session = behind.create().session_id
    behind.write(session, [14, 15, 16])
    behind.store()
    behind.write(session, [17, 18] * 600)
    behind.now += 0.05
    behind.tick()
    behind.send(make_write(session, None, at=3))
    while behind.lane.unfinished:
        behind.lane.run(behind.answers)
    behind.lane.abandon(behind.answers)
    behind.worker.close(1.0)
    behind._restarts += 1
    behind._open()
    assert behind.get(session).state.position == 3
    assert vector(behind, session)


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


def test_a_move_without_steps_survives_a_restart(kept):
    """Where the tape was cut and nothing put, it ends there afterwards too."""
    session = kept.create().session_id
    kept.write(session, list(range(14, 45)))
    kept.store()
    kept.write(session, None, at=30)
    kept.store()
    kept.restart(store_first=False)
    assert kept.write(session, [20]).state.position == 31


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
