"""Writes: the tape moves as told, each session in its turn, and the answers are those of the network over the tape."""

import numpy as np
from gatehouse_server.engine.observer import Happening
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.errors import DeadlineExpired, Draining
from gatehouse_server.sessions.operations import DeleteSession

from tests.sessions.desk import Desk, make_write
from tests.sessions.following import assert_follows


def test_an_append_answers_what_the_network_predicts_over_the_whole_tape(desk, oracle):
    """Appending in pieces gives the same predictions as running the network over the joined tape."""
    session = desk.create().session_id
    tape = []
    for piece in ([14], [20, 21, 22], list(range(13, 60))):
        tape += piece
        assert_follows(desk.write(session, piece, vector=True), oracle, tape)
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
    assert_follows(desk.write(session, [17], vector=True), oracle, [14, 15, 17])


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


def test_at_the_end_everything_that_waits_is_answered_and_counted(desk):
    """When the server leaves, running and waiting operations are answered, none of them applied."""
    session = desk.create().session_id
    desk.send(make_write(session, [14] * 100), make_write(session, [15]), make_write(session, [16]))
    desk.tick()
    desk.lane.abandon(desk.answers)
    assert [type(outcome) for _, outcome in desk.answers[-3:]] == [Draining] * 3
    assert desk.counts.happenings[Happening.DROPPED_DRAINING] == 3
    assert desk.get(session).state.position == 0
