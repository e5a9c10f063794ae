"""Writes under revisions: each is applied once, answered as often as it is sent, and refused where it does not fit."""

import pytest
from gatehouse_server.engine.observer import Happening
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import InvalidInput, PrecedingWriteRefused, RevisionConflict, StateBehind
from gatehouse_server.sessions.operations import DeleteSession, RefusedWrite
from gatehouse_server.sessions.results import WriteResult

from tests.sessions.desk import NoSink, make_write


def test_a_repeated_write_gets_its_answer_again_and_moves_nothing(desk):
    """The same write under the same revision is answered as before, also after later writes."""
    view = desk.create()
    life = {"incarnation": view.state.incarnation}
    write = make_write(view.session_id, [14, 15], revision=1, at=0, k=3, scores=True, **life)
    first = desk.one(write)
    desk.one(make_write(view.session_id, [16], revision=2, at=2, **life))
    again = desk.one(write)
    assert again.repeated
    assert (again.state.revision, again.state.position) == (1, 2)
    assert again.steps[0].best_ids.tolist() == first.steps[0].best_ids.tolist()
    assert again.steps[0].best_log_probabilities.tolist() == first.steps[0].best_log_probabilities.tolist()
    assert again.scores.tolist() == first.scores.tolist()
    assert desk.get(view.session_id).state.position == 3
    assert desk.counts.happenings[Happening.WRITE_REPEATED] == 1


def test_a_write_that_was_overwritten_by_a_rewind_is_still_answered_again(desk):
    """A repeated write gets its first answer even when the tape has gone back below it since."""
    view = desk.create()
    life = {"incarnation": view.state.incarnation}
    desk.one(make_write(view.session_id, [14], revision=1, at=0, **life))
    write = make_write(view.session_id, [15, 16], revision=2, at=1, k=5, **life)
    first = desk.one(write)
    desk.one(make_write(view.session_id, [20], revision=3, at=0, **life))
    again = desk.one(write)
    assert again.steps[0].best_log_probabilities.tolist() == first.steps[0].best_log_probabilities.tolist()
    assert desk.get(view.session_id).state.position == 1


def test_a_repeated_write_is_answered_also_when_its_time_is_up(desk):
    """A write that was applied is never answered with a deadline, which would say that it was not."""
    view = desk.create()
    write = make_write(view.session_id, [14], revision=1, at=0, k=3, incarnation=view.state.incarnation)
    desk.one(write)
    tickets = desk.send(write, deadline_seconds=desk.now - 1.0)
    (again,) = desk.settle(tickets)
    assert again.repeated
    tickets = desk.send(write, deadline_seconds=desk.now + 1.0)
    desk.now += 2.0
    (late,) = desk.settle(tickets)
    assert late.repeated


@pytest.mark.parametrize(
    "change",
    [{"inputs": [15]}, {"at": 0, "inputs": [14, 14]}, {"k": 4}, {"scores": True}],
    ids=["other tokens", "more tokens", "other outputs", "scores"],
)
def test_a_used_revision_with_other_content_is_a_conflict(desk, change):
    """A revision names one write; another one under it is refused with where the session stands."""
    view = desk.create()
    life = {"incarnation": view.state.incarnation}
    desk.one(make_write(view.session_id, [14], revision=1, at=0, k=3, **life))
    fields = {"inputs": [14], "at": 0, "k": 3} | change
    with pytest.raises(RevisionConflict) as caught:
        desk.one(make_write(view.session_id, fields.pop("inputs"), revision=1, **fields, **life))
    assert caught.value.reason == "REVISION_CONFLICT"
    assert caught.value.metadata["revision"] == "1"
    assert caught.value.metadata["position"] == "1"


def test_a_write_too_old_to_be_answered_again_is_a_conflict(desk):
    """The answers of the last eight writes can be had again, not of those before."""
    view = desk.create()
    writes = [
        make_write(view.session_id, [14], revision=number, at=number - 1, incarnation=view.state.incarnation)
        for number in range(1, 10)
    ]
    for write in writes:
        desk.one(write)
    assert desk.one(writes[1]).repeated
    with pytest.raises(RevisionConflict):
        desk.one(writes[0])


def test_a_revision_ahead_of_the_session_says_that_the_server_is_behind(desk):
    """A client that believes in more than the server has learns where to replay from."""
    view = desk.create()
    with pytest.raises(StateBehind) as caught:
        desk.one(make_write(view.session_id, [14], revision=2, at=1, incarnation=view.state.incarnation))
    assert caught.value.metadata == {
        "incarnation": str(view.state.incarnation),
        "revision": "0",
        "position": "0",
    }


def test_a_write_for_another_life_of_the_session_is_refused_even_if_its_revision_fits(desk):
    """A revision counted in an earlier life never lands on the tape of a later one."""
    first = desk.create(session_id="user-1")
    desk.one(DeleteSession(session_id="user-1"))
    second = desk.create(session_id="user-1")
    assert second.state.incarnation > first.state.incarnation
    with pytest.raises(StateBehind):
        desk.one(make_write("user-1", [14], revision=1, at=0, incarnation=first.state.incarnation))
    assert desk.get("user-1").state.position == 0


def test_what_follows_a_refused_write_in_a_pipeline_is_refused_too(desk):
    """After a refused write the pipeline stops; the next write under the right revision goes on."""
    view = desk.create()
    life = {"incarnation": view.state.incarnation}
    outcomes = desk.ask(
        make_write(view.session_id, [14], revision=1, at=0, **life),
        make_write(view.session_id, [10**6], revision=2, at=1, **life),
        make_write(view.session_id, [15], revision=3, at=2, **life),
        make_write(view.session_id, [16], revision=4, at=3, **life),
        make_write(view.session_id, [17], revision=2, at=1, **life),
    )
    assert [type(outcome) for outcome in outcomes] == [
        WriteResult,
        InvalidInput,
        PrecedingWriteRefused,
        PrecedingWriteRefused,
        WriteResult,
    ]
    assert desk.get(view.session_id).state.position == 2
    with pytest.raises(StateBehind):
        desk.one(make_write(view.session_id, [15], revision=4, at=2, **life))


def test_a_malformed_write_is_answered_in_its_turn_and_stops_the_pipeline(desk):
    """What the transport could not decode is refused in the session's order, and so is what was sent after it."""
    view = desk.create()
    life = {"incarnation": view.state.incarnation}
    malformed = InvalidInput.of_field("at", "expected 0 up to the session's position, got -1")
    tickets = desk.send(
        make_write(view.session_id, [14], revision=1, at=0, **life),
        RefusedWrite(session_id=view.session_id, revision=2, error=malformed),
        make_write(view.session_id, [15], revision=3, at=2, **life),
        RefusedWrite(session_id="never", revision=1, error=malformed),
    )
    outcomes = desk.settle(tickets)
    assert outcomes[1] is malformed
    assert outcomes[3] is malformed
    assert isinstance(outcomes[2], PrecedingWriteRefused)
    order = [ticket.tag for ticket, _ in desk.answers if ticket in tickets[:3]]
    assert order == [ticket.tag for ticket in tickets[:3]]


def test_of_two_writers_the_one_that_lost_does_not_write_on_the_other_ones_tape(desk):
    """What a stream sent before it learnt that another writer came first is refused, also where its revision fits."""
    view = desk.create()
    life = {"incarnation": view.state.incarnation}
    (mine,) = desk.send(make_write(view.session_id, [14], revision=1, at=0, **life))
    other = NoSink()
    theirs = [
        Ticket(
            operation=make_write(
                view.session_id, [20 + revision], revision=revision, at=revision - 1, **life
            ),
            sink=other,
            tag=100 + revision,
            received_seconds=desk.now,
        )
        for revision in (1, 2, 3)
    ]
    desk.lane.accept(theirs, desk.answers)
    outcomes = desk.settle([mine, *theirs])
    assert [type(outcome) for outcome in outcomes] == [
        WriteResult,
        RevisionConflict,
        PrecedingWriteRefused,
        PrecedingWriteRefused,
    ]
    assert desk.get(view.session_id).state.position == 1
    desk.now += 1.0
    later = Ticket(
        operation=make_write(view.session_id, [30], revision=2, at=1, **life),
        sink=other,
        tag=200,
        received_seconds=desk.now,
    )
    desk.lane.accept([later], desk.answers)
    assert desk.settle([later])[0].state.position == 2
