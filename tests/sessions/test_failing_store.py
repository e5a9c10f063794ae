"""When the store fails, loses answers, went back or has a broken record: nothing is lost, and nothing done twice."""

from collections.abc import Container
from typing import cast

import pytest
from gatehouse_server.errors import StoreUnavailable
from gatehouse_server.sessions.operations import (
    CreateSession,
    DeleteSession,
    ForkSession,
    InspectSession,
    ListStored,
)
from gatehouse_server.stores.port import Change, SessionStore, StoreFailure, Tombstone
from gatehouse_server.stores.worker import StoreWorker
from structlog.testing import capture_logs

from tests.sessions.desk import Desk, make_write
from tests.sessions.keeping import LIMITS, under, vector


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


def test_the_lag_is_that_of_the_longest_wait(behind, flaky):
    """Also when what was changed first has failed together with what was changed later."""
    first, later = behind.create().session_id, behind.create().session_id
    flaky.down = True
    behind.write(first, [14])
    for _ in range(19):
        behind.now += 3
        behind.store()
    behind.write(later, [14])
    for _ in range(5):
        behind.now += 3
        behind.store()
        assert behind.lane._keeper.lag_seconds > 60


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


@pytest.mark.parametrize("cut_to", [1, 2, 3, 5])
def test_a_record_is_whole_after_answers_were_lost(behind, flaky, cut_to):
    """What the store may have of a longer or shorter tape is written over."""
    session, straight = behind.create().session_id, behind.create().session_id
    behind.write(session, [14, 15, 16])
    behind.store()
    flaky.loses_answers = True
    behind.write(session, [17, 18, 19])
    behind.store()
    behind.write(session, None, at=cut_to)
    flaky.loses_answers = False
    behind.now += 3
    behind.store()
    behind.restart(store_first=False)
    behind.write(straight, [14, 15, 16, 17, 18, 19][:cut_to])
    assert behind.get(session).state.position == cut_to
    assert vector(behind, session) == vector(behind, straight)


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


@pytest.mark.parametrize(
    ("durability", "operation", "problem"),
    [
        ("sync", make_write("session", [14]), "writes wait until it does"),
        ("async", CreateSession(model="keyboard"), "writes are refused until it does"),
        ("async", ForkSession(session_id="session"), "writes are refused until it does"),
        ("async", DeleteSession(session_id="session"), "writes are refused until it does"),
    ],
    ids=["sync write", "create", "fork", "delete"],
)
def test_a_store_that_hangs_is_seen_while_somebody_waits_for_it(
    registry, flaky, durability, operation, problem
):
    """It never says that it fails; how long the oldest operation has been waiting tells, until it is answered."""
    desk = Desk(registry, limits=LIMITS, open_store=flaky.open, durability=durability)
    desk.create(session_id="session")
    desk.store()
    desk.tick()
    assert desk.counts.last_gauges.unsaved_sessions == 0
    (ticket,) = desk.send(operation)
    desk.tick()
    desk.now += 6
    desk.tick()
    assert (desk.counts.last_gauges.unsaved_sessions, desk.counts.last_gauges.lag_seconds) == (1, 6)
    assert desk.lane.store_warning() == "has not taken anything for 6 s"
    assert desk.lane.store_problem() is None
    desk.now += 55
    desk.tick()
    assert problem in desk.lane.store_problem()
    (outcome,) = desk.settle([ticket])
    assert not isinstance(outcome, Exception)
    desk.store()  # also that the session was used
    desk.tick()
    assert (desk.counts.last_gauges.unsaved_sessions, desk.counts.last_gauges.lag_seconds) == (0, 0)
    assert (desk.lane.store_problem(), desk.lane.store_warning()) == (None, None)


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
    with capture_logs() as lines:
        damaged, fine = kept.ask(make_write(broken, [14]), make_write(whole, [14]))
    assert [(line["event"], line["session_id"]) for line in lines] == [("a session cannot be read", broken)]
    assert damaged.reason == "SESSION_DAMAGED"
    assert broken in damaged.message
    assert fine.state.position == 3
    assert kept.suggest(broken, "how are ").rebuilt
    assert kept.write(broken, [14]).state.position == 3


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
