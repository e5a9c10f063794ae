"""A setting keeps what users wrote out of the store: sessions go on from their states."""

from functools import partial

import numpy as np
import pytest
from gatehouse_server.stores.sqlite import SqliteStore

from tests.sessions.desk import Desk
from tests.sessions.keeping import LIMITS, under, vector


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
