"""Models that are replaced or retired stay until nothing runs on them."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from gatehouse_server.errors import ModelNotFound, ModelNotLoaded
from gatehouse_server.models.folder import load_folder
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import (
    CloseSequence,
    CountSessions,
    CreateSession,
    DeleteSession,
    ExportSession,
    ForkSession,
    ImportSession,
    ListResidents,
    OpenSequences,
    RetireModel,
    ServeModel,
    StepSequence,
)
from gatehouse_server.stores.sqlite import SqliteStore

from tests.sessions.desk import Desk
from tests.tiny import write_tiny_classifier, write_tiny_keyboard

HOW_ARE = np.array([22, 14])
YOU = np.array([60])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk with a keyboard that the test may take away; two sessions fit into its state table."""
    write_tiny_keyboard(tmp_path / "keyboard" / "1")
    limits = SessionLimits(max_sessions=64, max_live_sessions=2)
    return Desk(Registry.load([tmp_path], embedded=None), limits=limits)


def replace(desk: Desk, tmp_path: Path) -> None:
    """Serves another content under the keyboard's version."""
    model = load_folder(write_tiny_keyboard(tmp_path / "new" / "keyboard" / "1", seed=1))
    assert desk.one(ServeModel(model=model, hosted=desk.lane.make_hosted(model))).done


def test_the_last_session_takes_its_model_along(desk: Desk) -> None:
    """Live or packed, and not sooner."""
    sessions = [desk.create().session_id for _ in range(3)]
    for session in sessions:
        desk.write(session, HOW_ARE)
    desk.one(RetireModel(key="keyboard@1"))
    for session in sessions:
        desk.tick()
        assert desk.left == []
        desk.write(session, HOW_ARE)
        desk.one(DeleteSession(session_id=session))
    desk.tick()
    assert desk.left == ["keyboard@1"]
    assert desk.lane.rows_in_use() == {}
    assert desk.lane.counts() == {}


def test_a_model_that_nothing_runs_on_leaves_at_once(desk: Desk) -> None:
    """And nobody can begin on it."""
    desk.one(RetireModel(key="keyboard@1"))
    desk.tick()
    assert desk.left == ["keyboard@1"]
    with pytest.raises(ModelNotFound):
        desk.one(CreateSession(model="keyboard"))


def test_a_continuation_keeps_its_model(desk: Desk) -> None:
    """Between its steps nothing of it waits and no session has it; it goes on, and its end lets the model go."""
    opened = desk.one(
        OpenSequences(
            session_id=None,
            model="keyboard",
            prompt=HOW_ARE,
            initial=None,
            stop_ids=(),
            count=1,
            max_steps=10,
        )
    )
    desk.one(RetireModel(key="keyboard@1"))
    (sequence,) = opened.sequence_ids
    for _ in range(3):
        desk.tick()
        assert desk.left == []
        desk.one(StepSequence(sequence_id=sequence, inputs=YOU))
    desk.one(CloseSequence(sequence_id=sequence))
    desk.tick()
    assert desk.left == ["keyboard@1"]


def test_sessions_of_two_contents_are_counted_apart(desk: Desk, tmp_path: Path) -> None:
    """Under one key; a fork is of the content of its source, an export of the old one is refused by the new one."""
    old = desk.registry.get("keyboard")
    first = desk.create().session_id
    replace(desk, tmp_path)
    new = desk.registry.get("keyboard")
    desk.one(ForkSession(session_id=first))
    desk.create()
    counts = desk.one(CountSessions(models=(old, new))).counts
    assert counts == {old.content_key: 2, new.content_key: 1}
    exported = desk.one(ExportSession(session_id=first))
    assert desk.ask(ImportSession(blob=exported.blob))[0].reason == "MODEL_MISMATCH"


def test_a_model_that_comes_back_needs_nothing_new(desk: Desk) -> None:
    """As long as it has not left; after that, something to run on has to come along."""
    model = desk.registry.get("keyboard")
    session = desk.create().session_id
    desk.one(RetireModel(key="keyboard@1"))
    assert desk.one(ServeModel(model=model, hosted=None)).done
    desk.write(session, HOW_ARE)
    desk.one(DeleteSession(session_id=session))
    desk.tick()
    assert desk.left == []
    desk.one(RetireModel(key="keyboard@1"))
    desk.tick()
    assert desk.left == ["keyboard@1"]
    assert not desk.one(ServeModel(model=model, hosted=None)).done
    assert desk.one(ServeModel(model=model, hosted=desk.lane.make_hosted(model))).done
    desk.write(desk.create().session_id, HOW_ARE)


def test_a_model_without_sessions_needs_nothing_to_run_on(desk: Desk, tmp_path: Path) -> None:
    """One of whole documents is served and retired, and none of its leaving is told here."""
    model = load_folder(write_tiny_classifier(tmp_path / "topics" / "1"))
    assert desk.one(ServeModel(model=model, hosted=None)).done
    assert desk.registry.get("topics") is model
    desk.one(RetireModel(key="topics@1"))
    desk.tick()
    assert (desk.registry.leaving, desk.left) == ((model,), [])


def test_a_stored_session_of_another_content_does_not_come_into_memory(models: Path, tmp_path: Path) -> None:
    """Its model is not served, so that nothing could be told of it or stored; it is kept, and may end there."""
    open_store = partial(SqliteStore, tmp_path / "sessions.db")
    desk = Desk(Registry.load([models], embedded=None), open_store=open_store)
    session = desk.create().session_id
    desk.write(session, HOW_ARE)
    desk.leave()
    write_tiny_keyboard(tmp_path / "new" / "keyboard" / "1", seed=1)
    desk = Desk(Registry.load([tmp_path / "new"], embedded=None), open_store=open_store, owner="later")
    for _ in range(2):
        with pytest.raises(ModelNotLoaded):
            desk.write(session, HOW_ARE)
    assert desk.one(ListResidents()).session_ids == ()
    desk.one(RetireModel(key="keyboard@1"))
    desk.store()
    assert desk.left == ["keyboard@1"]
    desk.leave()
    desk = Desk(Registry.load([models], embedded=None), open_store=open_store, owner="last")
    assert desk.write(session, YOU).state.position == 3
