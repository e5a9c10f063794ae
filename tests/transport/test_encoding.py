"""Results become messages without loss."""

import time
from dataclasses import replace

import numpy as np
import pytest
from gatehouse.v1 import online_pb2, session_pb2
from gatehouse_server.engine.looking import LayerActivations
from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions.results import (
    Durability,
    SessionView,
    StepOutput,
    Suggestion,
    SuggestResult,
    WriteResult,
)
from gatehouse_server.transport.durations import fill_duration
from gatehouse_server.transport.encoding import (
    fill_session,
    fill_suggest_result,
    fill_write_result,
    weight_bytes,
)

from tests.transport.stage import STATE, TIMING, step_output

VIEW = SessionView(
    session_id="s",
    model="keyboard@1",
    state=STATE,
    max_unanswered_writes=8,
    max_write_steps=4096,
    max_tape_steps=10**6,
    durability="none",
)


def test_a_write_result_is_told_whole() -> None:
    """State, steps, scores, tokens, vector and timing arrive."""
    vector = np.array([-0.5, -1.5], dtype=np.float32)
    result = WriteResult(
        session_id="s",
        state=STATE,
        timing=TIMING,
        steps=(step_output(2), StepOutput(position=4, vector=vector)),
        scores=np.array([-0.25], dtype=np.float32),
        token_ids=np.array([7]),
        repeated=True,
    )
    message = online_pb2.WriteResult()
    fill_write_result(message, result)
    assert (message.session_id, message.repeated_write) == ("s", True)
    assert (message.state.incarnation, message.state.revision, message.state.position) == (1, 2, 3)
    assert message.state.expire_time.seconds == pytest.approx(time.time() + 3600, abs=60)
    assert list(message.steps[0].best_ids) == [0, 1]
    assert list(message.steps[0].best_log_probabilities) == [-1.0, -2.0]
    assert list(message.steps[0].best_texts) == ["word0", "word1"]
    assert message.steps[1].position == 4
    assert np.frombuffer(message.steps[1].vector, "<f4").tolist() == [-0.5, -1.5]
    assert (list(message.scores), list(message.token_ids)) == ([-0.25], [7])
    assert (message.timing.queue.nanos, message.timing.compute.nanos) == (1_000_000, 2_000_000)


def test_what_goes_on_inside_is_told_whole() -> None:
    """Hidden vectors stand at their steps, activations by layer, direction and name, row by row, with their tokens; and
    their size is known before.
    """
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    layers = (
        LayerActivations(layer=0, reverse=False, values={"update": values, "hidden": values[:, ::-1]}),
        LayerActivations(layer=1, reverse=True, values={"hidden": values[:, :1]}),
    )
    result = WriteResult(
        session_id="s",
        state=STATE,
        timing=TIMING,
        steps=(StepOutput(position=4, hidden=values[0]),),
        activations=layers,
        token_ids=np.array([7, 8, 9]),
        token_texts=("how", "are", "you"),
    )
    message = online_pb2.WriteResult()
    fill_write_result(message, result)
    assert np.frombuffer(message.steps[0].hidden, "<f4").tolist() == [0.0, 1.0]
    assert (list(message.token_ids), list(message.token_texts)) == ([7, 8, 9], ["how", "are", "you"])
    assert [(layer.layer, layer.reverse) for layer in message.activations] == [(0, False), (1, True)]
    update, hidden = message.activations[0].activations
    assert [(each.name, each.width) for each in (update, hidden)] == [("update", 2), ("hidden", 2)]
    assert np.frombuffer(update.values, "<f4").tolist() == [0, 1, 2, 3, 4, 5]
    assert np.frombuffer(hidden.values, "<f4").tolist() == [1, 0, 3, 2, 5, 4]
    assert np.frombuffer(message.activations[1].activations[0].values, "<f4").tolist() == [0, 2, 4]
    assert message.ByteSize() <= weight_bytes(result) <= message.ByteSize() + 512


def test_a_suggestion_is_told_whole() -> None:
    """Words with their log-probabilities, the prefix, and what it took."""
    result = SuggestResult(
        session_id="s",
        state=STATE,
        timing=TIMING,
        suggestions=(Suggestion(text="doing", log_probability=-0.5),),
        prefix="do",
        rebuilt=True,
        computed_steps=3,
    )
    message = online_pb2.SuggestResult()
    fill_suggest_result(message, result)
    assert [(each.text, each.log_probability) for each in message.suggestions] == [("doing", -0.5)]
    assert (message.prefix, message.rebuilt, message.computed_steps) == ("do", True, 3)


def test_a_session_tells_its_limits() -> None:
    """The limits that a client has to keep are in the message."""
    message = session_pb2.Session()
    fill_session(message, VIEW)
    assert (message.model, message.max_unanswered_writes) == ("keyboard@1", 8)
    assert (message.max_write_steps, message.max_tape_steps) == (4096, 10**6)


@pytest.mark.parametrize(
    ("durability", "told"),
    [
        ("none", session_pb2.DURABILITY_NONE),
        ("async", session_pb2.DURABILITY_ASYNC),
        ("sync", session_pb2.DURABILITY_SYNC),
    ],
)
def test_a_session_tells_what_it_outlives(durability: Durability, told: int) -> None:
    """A client keeps its writes, or need not, by this."""
    message = session_pb2.Session()
    fill_session(message, replace(VIEW, durability=durability))
    assert message.durability == told


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.999999999, 1.0, 3661.25])
def test_durations_are_told_to_the_nanosecond(seconds: float) -> None:
    """Also whole seconds, more than a second, and none."""
    message = online_pb2.Timing()
    fill_duration(message.queue, seconds)
    assert message.HasField("queue")
    assert message.queue.ToNanoseconds() == round(seconds * 1e9)


def test_the_weight_of_a_result_is_close_to_its_size() -> None:
    """Where a result is large, the estimate is what it takes in a message."""
    wide = StepOutput(position=1, vector=np.zeros(10_000, dtype=np.float32))
    result = WriteResult(session_id="s", state=STATE, timing=TIMING, steps=(wide,) * 20)
    message = online_pb2.WriteResult()
    fill_write_result(message, result)
    assert weight_bytes(result) == pytest.approx(message.ByteSize(), rel=0.1)


def test_the_weight_of_a_suggestion_covers_its_size() -> None:
    """However many words it has, and whatever their letters take; the unfinished word is part of it."""
    words = [
        f"{letter * length}{number}" for number in range(100) for letter in "aé語😀" for length in (1, 40)
    ]
    result = SuggestResult(
        session_id="s" * 128,
        state=STATE,
        timing=TIMING,
        suggestions=tuple(Suggestion(text=word, log_probability=-1.0) for word in words),
        prefix="語" * 1000,
        rebuilt=True,
        computed_steps=3,
    )
    message = online_pb2.SuggestResult()
    fill_suggest_result(message, result)
    assert message.ByteSize() <= weight_bytes(result) <= 2 * message.ByteSize()


def test_suggestions_that_do_not_fit_into_a_message_are_refused() -> None:
    """Such an answer would end a whole stream; this one says to ask for fewer."""
    words = (Suggestion(text="x" * 1000, log_probability=-1.0),) * 20_000
    result = SuggestResult("s", STATE, TIMING, words, "", False, 1)
    with pytest.raises(InvalidInput) as caught:
        fill_suggest_result(online_pb2.SuggestResult(), result)
    assert caught.value.reason == "OUTPUTS_TOO_LARGE"
    assert caught.value.violations[0].field == "k"
