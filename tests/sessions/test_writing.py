"""Writes: the tape moves as told, exactly once, and the answers are those of the network over the tape."""

import numpy as np
import pytest
from gatehouse_server.engine.observer import Happening
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import (
    DeadlineExpired,
    Draining,
    InvalidInput,
    ModelNotFound,
    PositionNotRetained,
    PrecedingWriteRefused,
    RevisionConflict,
    SessionNotFound,
    StateBehind,
    TapeFull,
)
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import CreateSession, DeleteSession, RefusedWrite
from gatehouse_server.sessions.results import WriteResult

from tests.sessions.desk import Desk, NoSink, make_write
from tests.sessions.plain_networks import PlainNetwork


@pytest.fixture(scope="module")
def oracle(models):
    """The keyboard in plain torch."""
    return PlainNetwork(models / "keyboard" / "1")


def same(result: WriteResult, oracle: PlainNetwork, tape: list[int]) -> None:
    """Asserts that the last full output of a result is the network's over the tape."""
    expected = oracle.log_probabilities(tape)[-1].numpy()
    assert result.steps[-1].vector is not None
    np.testing.assert_allclose(result.steps[-1].vector, expected, atol=1e-5)


def test_an_append_answers_what_the_network_predicts_over_the_whole_tape(desk, oracle):
    """Appending in pieces gives the same predictions as running the network over the joined tape."""
    session = desk.create().session_id
    tape = []
    for piece in ([14], [20, 21, 22], list(range(13, 60))):
        tape += piece
        same(desk.write(session, piece, vector=True), oracle, tape)
    assert desk.get(session).state.position == len(tape)


def test_a_long_write_is_consumed_in_chunks_and_answers_every_step(registry, oracle):
    """A write longer than a chunk takes several ticks; its outputs at every step are those of the network."""
    desk = Desk(registry, batching=OnlineBatching(chunk_steps=4))
    session = desk.create().session_id
    tape = [13 + (7 * step) % 40 for step in range(19)]
    result = desk.write(session, tape, vector=True, every_step=True, scores=True, k=3)
    expected = oracle.log_probabilities(tape).numpy()
    assert [step.position for step in result.steps] == list(range(1, 20))
    np.testing.assert_allclose([step.vector for step in result.steps], expected[1:], atol=1e-5)
    np.testing.assert_allclose(
        result.scores, [expected[at, token] for at, token in enumerate(tape)], atol=1e-5
    )
    assert [step.best_ids.tolist() for step in result.steps] == np.argsort(-expected[1:], axis=1)[
        :, :3
    ].tolist()
    assert len(desk.counts.ticks) == 5


def test_the_state_stands_until_the_last_chunk_is_done(registry):
    """A session keeps its tape and revision until the whole write is computed."""
    desk = Desk(registry, batching=OnlineBatching(chunk_steps=2))
    session = desk.create().session_id
    tickets = desk.send(make_write(session, [14, 15, 16]))
    desk.tick()
    assert desk.get(session).state.position == 0
    assert desk.settle(tickets)[0].state.position == 3


def test_sessions_share_a_tick(desk):
    """Writes of many sessions that wait together are computed as one batch."""
    sessions = [desk.create().session_id for _ in range(20)]
    desk.ask(*(make_write(session, [14], k=1) for session in sessions))
    assert [tick.sessions for tick in desk.counts.ticks] == [20]


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


def test_a_write_at_an_earlier_position_equals_never_having_made_the_detour(desk, oracle):
    """Going back and writing on gives the predictions of the tape as it then reads."""
    session = desk.create().session_id
    desk.write(session, [14, 15, 16, 17, 18])
    desk.write(session, [19])
    same(desk.write(session, [30], at=3, vector=True), oracle, [14, 15, 16, 30])
    same(desk.write(session, [31, 32], vector=True), oracle, [14, 15, 16, 30, 31, 32])
    same(desk.write(session, [33], at=0, vector=True), oracle, [33])


def test_moving_without_steps_answers_the_position_that_it_moved_to(desk, oracle):
    """A write with only a position goes there and predicts from there, position 0 included."""
    session = desk.create().session_id
    desk.write(session, [14, 15, 16])
    moved = desk.write(session, at=2, vector=True)
    assert (moved.state.position, moved.steps[0].position) == (2, 2)
    same(moved, oracle, [14, 15])
    same(desk.write(session, at=0, vector=True), oracle, [])


def test_rewinding_to_a_write_boundary_computes_nothing_again(desk):
    """The states before the last writes are kept, so going back to one costs no steps."""
    session = desk.create().session_id
    for token in (14, 15, 16):
        desk.write(session, [token])
    steps = sum(tick.steps for tick in desk.counts.ticks)
    desk.write(session, [20], at=2)
    assert sum(tick.steps for tick in desk.counts.ticks) == steps + 1


def test_a_session_of_features_goes_back_to_any_of_its_last_positions(desk):
    """Any of the last 64 positions can be written at, and the answer is that of never having gone further."""
    values = np.random.default_rng(1).normal(size=(150, 3)).astype(np.float32)
    session, straight = desk.create("motion").session_id, desk.create("motion").session_id
    for begin in (0, 100, 101, 117):
        desk.write(session, values[begin : {0: 100, 100: 101, 101: 117, 117: 150}[begin]])
    oldest = desk.get(session).state.oldest_restorable_position
    assert 0 < oldest <= 150 - 64
    for at in (149, 133, 112, 111, oldest):
        desk.write(straight, values[:at], at=0)
        expected = desk.write(straight, values[:5], vector=True).steps[0].vector
        went_back = desk.write(session, values[:5], at=at, vector=True).steps[0].vector
        assert went_back.tolist() == expected.tolist()


def test_a_session_of_features_says_how_far_back_it_can_go(desk):
    """Further back than what is kept is refused with the range that is; the beginning always can be."""
    session = desk.create("motion").session_id
    desk.write(session, np.ones((200, 3), dtype=np.float32))
    oldest = desk.get(session).state.oldest_restorable_position
    with pytest.raises(PositionNotRetained) as caught:
        desk.write(session, np.ones((1, 3), dtype=np.float32), at=oldest - 1)
    assert caught.value.metadata["oldest_restorable_position"] == str(oldest)
    assert desk.get(session).state.position == 200
    assert desk.write(session, np.ones((1, 3), dtype=np.float32), at=0).state.position == 1


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({}, "EMPTY_INPUT", "inputs"),
        ({"inputs": []}, "EMPTY_INPUT", "tokens.ids"),
        ({"inputs": [66]}, "TOKEN_OUT_OF_RANGE", "tokens.ids[0]"),
        ({"inputs": [14, -1]}, "TOKEN_OUT_OF_RANGE", "tokens.ids[1]"),
        ({"inputs": "   "}, "EMPTY_INPUT", "text"),
        ({"inputs": [14] * 33}, "INPUT_TOO_LONG", "tokens.ids"),
        ({"inputs": "go " * 33}, "INPUT_TOO_LONG", "text"),
        ({"inputs": [14], "k": 0}, "K_OUT_OF_RANGE", "outputs.k"),
        ({"inputs": [14], "k": 67}, "K_OUT_OF_RANGE", "outputs.k"),
        ({"inputs": [14] * 32, "vector": True, "every_step": True}, "OUTPUTS_TOO_LARGE", "outputs"),
        ({"inputs": [14], "at": 3}, "POSITION_OUT_OF_RANGE", "at"),
        ({"inputs": [14], "at": -1}, "POSITION_OUT_OF_RANGE", "at"),
        ({"inputs": np.ones((1, 3), dtype=np.float32)}, "WRONG_INPUT_KIND", "inputs"),
    ],
)
def test_a_bad_write_is_refused_with_reason_and_field_and_changes_nothing(registry, fields, reason, field):
    """Whatever is wrong with a write is named, and the session stays as it was."""
    desk = Desk(registry, limits=SessionLimits(max_sessions=4, max_write_steps=32, max_output_bytes=8000))
    session = desk.create().session_id
    desk.write(session, [14])
    with pytest.raises(InvalidInput) as caught:
        desk.write(session, **fields)
    assert caught.value.reason == reason
    assert [violation.field for violation in caught.value.violations] == [field]
    state = desk.get(session).state
    assert (state.position, state.revision) == (1, 1)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((1, 3), np.nan, dtype=np.float32), "FEATURES_NOT_FINITE"),
        (np.full((1, 3), np.inf, dtype=np.float32), "FEATURES_NOT_FINITE"),
        (np.ones((1, 2), dtype=np.float32), "WRONG_WIDTH"),
        (np.ones((0, 3), dtype=np.float32), "EMPTY_INPUT"),
    ],
)
def test_bad_features_are_refused(desk, values, reason):
    """Features have to be finite, of the model's width, and there."""
    session = desk.create("motion").session_id
    with pytest.raises(InvalidInput) as caught:
        desk.write(session, values)
    assert caught.value.reason == reason


def test_a_regression_ranks_nothing_and_scores_nothing(desk):
    """The best entries and scores of a regression mean nothing, so asking for them is refused."""
    session = desk.create("motion").session_id
    for wanted in ({"k": 1}, {"scores": True}):
        with pytest.raises(InvalidInput) as caught:
            desk.write(session, np.ones((1, 3), dtype=np.float32), **wanted)
        assert caught.value.reason == "WRONG_MODEL_KIND"


def test_a_model_that_is_not_there_or_not_online_is_named(desk):
    """No session on an unknown model, nor on one that reads whole documents; the error says why."""
    with pytest.raises(ModelNotFound):
        desk.create("nothing")
    with pytest.raises(InvalidInput, match="bidirectional") as caught:
        desk.create("topics")
    assert caught.value.violations[0].field == "model"


def test_the_tape_has_a_greatest_length(registry):
    """A write beyond the tape's limit is refused and applies nothing."""
    desk = Desk(registry, limits=SessionLimits(max_sessions=4, max_tape_steps=5))
    session = desk.create().session_id
    desk.write(session, [14] * 4)
    with pytest.raises(TapeFull):
        desk.write(session, [14, 15])
    assert desk.get(session).state.position == 4
    desk.write(session, [14, 15], at=3)


def test_work_whose_deadline_passed_is_dropped_before_it_is_computed(desk):
    """A write that waited too long is answered so, not applied, and counted."""
    session = desk.create().session_id
    tickets = desk.send(make_write(session, [14]), make_write(session, [15]), deadline_seconds=desk.now + 1.0)
    desk.now += 1.0
    assert [type(outcome) for outcome in desk.settle(tickets)] == [DeadlineExpired, DeadlineExpired]
    assert desk.get(session).state.position == 0
    assert desk.counts.happenings[Happening.DROPPED_DEADLINE] == 2


def test_deleting_a_session_takes_its_turn(desk):
    """What was sent before is applied and answered; what is sent after is told that the session was deleted."""
    session = desk.create().session_id
    write, delete, late = desk.ask(
        make_write(session, [14] * 40), DeleteSession(session_id=session), make_write(session, [15])
    )
    assert write.state.position == 40
    assert delete.session_id == session
    assert late.reason == "SESSION_DELETED"
    desk.tick()
    assert desk.counts.last_gauges.state_bytes == 0


def test_rows_are_given_back_when_sessions_end(desk):
    """However a session was used, its end frees all rows of the state table."""
    for number in range(5):
        view = desk.create()
        for step in range(12):
            desk.write(view.session_id, [14 + step], at=max(0, step - number))
        desk.one(DeleteSession(session_id=view.session_id))
    desk.tick()
    assert desk.counts.last_gauges.state_bytes == 0


def test_a_failing_tick_fails_its_writes_and_leaves_every_session_where_it_was(desk, oracle, monkeypatch):
    """When computing breaks, the writes are answered with the failure; states and tapes are untouched."""
    session = desk.create().session_id
    desk.write(session, [14, 15])
    backend = desk.lane._hosts.get("keyboard").engine._backend

    def broken(batch: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(backend, "run", broken)
        (outcome,) = desk.ask(make_write(session, [16]))
    assert isinstance(outcome, RuntimeError)
    same(desk.write(session, [17], vector=True), oracle, [14, 15, 17])


def test_answers_do_not_depend_on_neighbours_or_chunks_to_the_bit(registry):
    """A session's outputs are bit for bit the same alone and among others, in one write and in many."""
    rng = np.random.default_rng(7)
    tape = rng.integers(0, 66, 40).tolist()
    alone = Desk(registry)
    session = alone.create().session_id
    whole = alone.write(session, tape, vector=True).steps[0].vector

    crowded = Desk(registry, batching=OnlineBatching(max_sessions_per_tick=7, chunk_steps=3))
    session = crowded.create().session_id
    others = [crowded.create().session_id for _ in range(30)]
    at = 0
    result = None
    while at < len(tape):
        size = int(rng.integers(1, 6))
        crowd = [make_write(other, rng.integers(0, 66, int(rng.integers(1, 9))).tolist()) for other in others]
        result = crowded.ask(
            *crowd[:15], make_write(session, tape[at : at + size], vector=True), *crowd[15:]
        )[15]
        at += size
    assert result is not None
    assert result.steps[0].vector.tobytes() == whole.tobytes()


def test_a_request_id_makes_creating_repeatable(desk):
    """Repeating a creation under its request_id answers with the same session."""
    first, second = desk.ask(
        CreateSession(model="keyboard", request_id="r1"), CreateSession(model="keyboard", request_id="r1")
    )
    assert first.session_id == second.session_id


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


def test_at_the_end_everything_that_waits_is_answered_and_counted(desk):
    """When the server leaves, running and waiting operations are answered, none of them applied."""
    session = desk.create().session_id
    desk.send(make_write(session, [14] * 100), make_write(session, [15]), make_write(session, [16]))
    desk.tick()
    desk.lane.abandon(desk.answers)
    assert [type(outcome) for _, outcome in desk.answers[-3:]] == [Draining] * 3
    assert desk.counts.happenings[Happening.DROPPED_DRAINING] == 3
    assert desk.get(session).state.position == 0


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
