"""Sessions in explicit steps: exactly once whatever happens on the way."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from gatehouse import decoding, errors
from gatehouse.v1 import session_pb2

from tests.client import fake_model
from tests.client.fake_server import FakeServer
from tests.client.fake_status import refusal


def test_append_and_rewind_move_the_position(client: Any) -> None:
    """Appending counts the steps, rewinding goes back, and the handle keeps where the session stands."""
    keyboard = client.session("keyboard")
    step = keyboard.append(text="how are you", k=3)
    assert (step.position, step.revision, keyboard.position) == (3, 1, 3)
    assert [candidate.text for candidate in step.best] == ["doing", "done", "today"]
    keyboard.rewind(to=step.position - 1)
    assert (keyboard.position, keyboard.revision) == (2, 2)
    assert keyboard.append(tokens=[4], k=1).best[0].text == "doing"
    assert keyboard.start_over().position == 0


def test_a_write_at_a_position_replaces_what_stood_behind(client: Any, server: FakeServer) -> None:
    """`at` below the end cuts the tape there first."""
    keyboard = client.session("keyboard")
    keyboard.append(text="how are you")
    keyboard.write(at=1, text="am i")
    assert server.online.sessions[keyboard.id].tape == fake_model.encode("how am i")


def test_outputs_are_what_was_asked_for(client: Any) -> None:
    """Scores and ids of tokens, candidates at every step, the vector; nothing when nothing is asked."""
    keyboard = client.session("keyboard")
    result = keyboard.append(text="how are", k=1, every_step=True, scores=True, vector=True)
    assert result.token_ids == (2, 3)
    assert result.scores == pytest.approx(
        [fake_model.log_probabilities([])[2], fake_model.log_probabilities([2])[3]], abs=1e-6
    )
    assert [output.position for output in result.outputs] == [1, 2]
    assert [output.best[0].id for output in result.outputs] == [3, 4]
    assert math.fsum(math.exp(value) for value in result.vector) == pytest.approx(1, abs=1e-6)
    bare = keyboard.append(text="you")
    assert (bare.outputs, bare.scores, bare.best, bare.vector) == ((), (), (), None)


def test_a_lost_reply_does_not_move_the_session_twice(client: Any, server: FakeServer) -> None:
    """Three replies get lost after the write was applied: it is repeated and stays applied once."""
    keyboard = client.session("keyboard")
    server.online.replies_to_lose = 3
    result = keyboard.append(text="how are you")
    assert result.repeated
    assert server.calls["OnlineService.Write"] == 4
    assert server.online.writes_applied == 1
    assert keyboard.position == 3


def test_a_write_without_any_answer_blocks_the_next_until_repeated(client: Any, server: FakeServer) -> None:
    """When the deadline passes without an answer, the next write is refused; `repeat` gets the answer."""
    keyboard = client.session("keyboard")
    server.online.replies_to_lose = 1_000_000
    with pytest.raises(errors.UnavailableError):
        keyboard.append(text="how", timeout_seconds=0.3)
    with pytest.raises(errors.UnansweredWriteError, match="repeat"):
        keyboard.append(text="are")
    server.online.replies_to_lose = 0
    assert keyboard.repeat().position == 1
    assert keyboard.append(text="are").position == 2
    assert server.online.writes_applied == 2
    with pytest.raises(RuntimeError):
        keyboard.repeat()


def test_refresh_forgets_the_unanswered_write_and_looks(client: Any, server: FakeServer) -> None:
    """`refresh` shows that the unanswered write had been applied, and the session goes on from there."""
    keyboard = client.session("keyboard")
    server.online.replies_to_lose = 1_000_000
    with pytest.raises(errors.UnavailableError):
        keyboard.append(text="how", timeout_seconds=0.3)
    server.online.replies_to_lose = 0
    assert keyboard.refresh().position == 1
    assert keyboard.append(text="are").position == 2


def test_a_deadline_without_answer_leaves_the_write_unanswered(client: Any, server: FakeServer) -> None:
    """A server that does not answer in time: DeadlineExceededError, and the write can be repeated."""
    keyboard = client.session("keyboard")
    server.online.stall.clear()
    with pytest.raises(errors.DeadlineExceededError):
        keyboard.append(text="how", timeout_seconds=0.2)
    server.online.stall.set()
    assert keyboard.repeat().position == 1


def test_a_refused_write_is_not_left_unanswered(client: Any) -> None:
    """A refusal with a reason is certain: the next write goes out under the same revision."""
    keyboard = client.session("keyboard")
    with pytest.raises(errors.InvalidInputError) as caught:
        keyboard.append(tokens=[2] * 100)
    assert caught.value.reason == "INPUT_TOO_LONG"
    assert keyboard.append(text="how").revision == 1


def test_a_failure_without_reason_leaves_the_write_unanswered(client: Any, server: FakeServer) -> None:
    """An INTERNAL from somewhere on the way proves nothing: the write stays unanswered."""
    keyboard = client.session("keyboard")
    server.online.calls_to_refuse = [refusal(grpc.StatusCode.INTERNAL, "RST_STREAM")]
    with pytest.raises(errors.ServerError):
        keyboard.append(text="how")
    with pytest.raises(errors.UnansweredWriteError):
        keyboard.append(text="how")
    assert keyboard.repeat().position == 1


def test_bad_arguments_are_refused_before_anything_is_sent(client: Any, server: FakeServer) -> None:
    """No input, two inputs or ragged features raise at once and leave nothing unanswered."""
    keyboard = client.session("keyboard")
    with pytest.raises(TypeError):
        keyboard.append()
    with pytest.raises(TypeError):
        keyboard.append(text="how", tokens=[2])
    with pytest.raises(ValueError, match="as many features"):
        keyboard.append(features=[[1.0, 2.0], [1.0]])
    assert server.calls["OnlineService.Write"] == 0
    assert keyboard.append(text="how").position == 1


def test_a_write_that_fits_into_no_message_is_not_left_unanswered(client: Any, server: FakeServer) -> None:
    """It never left, and the next one goes out under the same revision."""
    keyboard = client.session("keyboard")
    with pytest.raises(errors.MessageTooLargeError):
        keyboard.append(text="x" * 17_000_000)
    assert keyboard.append(text="how").revision == 1
    assert server.calls["OnlineService.Write"] == 1


def test_a_conflict_says_where_the_server_stands(client: Any) -> None:
    """Two handles on one session: the later one gets RevisionConflictError with the server's revision."""
    first = client.session("keyboard")
    second = client.attach(first.id)
    first.append(text="how are")
    with pytest.raises(errors.RevisionConflictError) as caught:
        second.append(text="you")
    assert (caught.value.incarnation, caught.value.revision, caught.value.position) == (1, 1, 2)
    second.refresh()
    assert second.append(text="you").position == 3


def test_a_session_that_is_gone_tells_why(client: Any) -> None:
    """Deleted and unknown are different exceptions, both SessionNotFoundError."""
    keyboard = client.session("keyboard", session_id="mine")
    client.attach("mine").delete()
    with pytest.raises(errors.SessionDeletedError):
        keyboard.append(text="how")
    keyboard.delete()
    with pytest.raises(errors.SessionNotFoundError) as caught:
        client.attach("yours")
    assert isinstance(caught.value, errors.SessionUnknownError)


def test_a_taken_id_is_a_session_exists_error(client: Any) -> None:
    """Creating a session under an id in use fails; attaching goes on with it."""
    client.session("keyboard", session_id="mine").append(text="how")
    with pytest.raises(errors.SessionExistsError):
        client.session("keyboard", session_id="mine")
    assert client.attach("mine").position == 1


def test_creation_is_repeated_under_one_request_id(client: Any, server: FakeServer) -> None:
    """A creation that is refused once with UNAVAILABLE makes one session."""
    server.online.calls_to_refuse = [refusal(grpc.StatusCode.UNAVAILABLE, "restarting")]
    client.session("keyboard")
    assert server.calls["OnlineService.CreateSession"] == 2
    assert len(server.online.sessions) == 1


def test_a_session_may_live_for_ever() -> None:
    """A server keeps idle sessions for ten thousand years: their end is told as the last second that there is."""
    state = session_pb2.SessionState(revision=1)
    state.expire_time.seconds = 400_000_000_000
    assert decoding.session_state(state).expire_time == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
