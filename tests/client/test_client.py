"""The client's plain calls, and how failures arrive."""

from __future__ import annotations

import dataclasses
from typing import Any

import grpc
import pytest
from gatehouse import Client, errors
from google.protobuf.message import Message

from tests.client.fake_server import FakeServer
from tests.client.fake_status import refusal


def test_suggest_answers_words_best_first(client: Any) -> None:
    """The words complete the unfinished one, the likeliest first, and the session has its name."""
    answer = client.suggest("how are you do", session="user-8f3a")
    assert answer.words == ["doing", "done"]
    assert answer.session == "user-8f3a"
    assert (answer.prefix, answer.rebuilt, answer.state.position) == ("do", True, 3)
    assert answer.suggestions[0].log_probability > answer.suggestions[1].log_probability


def test_suggest_passes_its_options_on(client: Any) -> None:
    """`k` limits the words and `exclude` leaves some out."""
    assert client.suggest("how ", k=1).words == ["are"]
    assert client.suggest("how ", k=2, exclude=["are"]).words == ["you", "doing"]


def test_idempotent_calls_are_repeated_when_the_server_is_briefly_unavailable(
    client: Any, server: FakeServer
) -> None:
    """Two refusals of Suggest with UNAVAILABLE are not seen by the caller."""
    server.online.calls_to_refuse = [refusal(grpc.StatusCode.UNAVAILABLE, "restarting") for _ in range(2)]
    assert client.suggest("how ").words[0] == "are"
    assert server.calls["OnlineService.Suggest"] == 3


def test_a_server_that_is_not_there_is_an_unavailable_error() -> None:
    """Without a server the call fails with UnavailableError long before its deadline."""
    with Client("127.0.0.1:1") as client, pytest.raises(errors.UnavailableError) as caught:
        client.list_models()
    assert caught.value.reason is None


def test_a_call_without_its_own_deadline_has_the_clients() -> None:
    """A server that never answers ends in DeadlineExceededError, also a TimeoutError, after the client's
    timeout.
    """
    server = FakeServer()
    try:
        with Client(server.target, timeout_seconds=0.2) as client:
            server.online.stall.clear()
            with pytest.raises(TimeoutError) as caught:
                client.suggest("how ")
            assert isinstance(caught.value, errors.DeadlineExceededError)
    finally:
        server.online.stall.set()
        server.stop()


def test_failures_carry_reason_metadata_violations_and_retry(client: Any, server: FakeServer) -> None:
    """What the server tells in error details arrives as attributes of the exception."""
    server.online.calls_to_refuse = [
        refusal(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "too many sessions",
            reason="SESSIONS_FULL",
            metadata={"limit": "3"},
            retry_after_seconds=0.25,
        )
    ]
    with pytest.raises(errors.OverloadedError) as overload:
        client.suggest("how ")
    assert overload.value.reason == "SESSIONS_FULL"
    assert overload.value.metadata == {"limit": "3"}
    assert overload.value.retry_after_seconds == 0.25
    server.online.calls_to_refuse = [
        refusal(
            grpc.StatusCode.INVALID_ARGUMENT, "k: 0 is not in 1 to 10", reason="K_OUT_OF_RANGE", field="k"
        )
    ]
    with pytest.raises(errors.InvalidInputError) as invalid:
        client.suggest("how ", k=0)
    assert [violation.field for violation in invalid.value.violations] == ["k"]
    assert isinstance(invalid.value, ValueError)


def test_a_message_larger_than_the_limit_is_told_apart_from_overload(client: Any) -> None:
    """17 MB of text do not fit into a message: MessageTooLargeError, not OverloadedError."""
    with pytest.raises(errors.MessageTooLargeError):
        client.suggest("x" * 17_000_000)


def test_models_are_described_without_protobuf(client: Any) -> None:
    """Models come as dataclasses, those that failed to load with their failure."""
    broken, keyboard, topics = client.list_models()
    assert (broken.ready, broken.failure) == (False, "config.json: no such file")
    assert keyboard == client.get_model("keyboard")
    assert (keyboard.full_name, keyboard.tokens.end_id, keyboard.tokens.start_id) == ("keyboard@1", 1, None)
    assert topics.labels == ("animals", "plants", "stones")


def test_an_unknown_model_is_a_model_not_found_error(client: Any) -> None:
    """The reason MODEL_NOT_FOUND has a class of its own."""
    with pytest.raises(errors.ModelNotFoundError) as caught:
        client.get_model("nope")
    assert caught.value.reason == "MODEL_NOT_FOUND"


def test_classify_batch_answers_in_order(client: Any) -> None:
    """A batch has one result for each document, in its order, failures among them."""
    results = client.classify_batch([("b", "plants"), ("a", "fail"), ("c", "stones")], model="topics", k=1)
    assert [(result.id, result.label) for result in results] == [
        ("b", "plants"),
        ("a", None),
        ("c", "stones"),
    ]
    assert isinstance(results[1].error, errors.InvalidInputError)
    assert len(results[0].scores) == 1


def test_no_result_exposes_a_protobuf_type(client: Any) -> None:
    """Whatever a call answers is made of plain values all the way down."""
    session = client.session("keyboard")
    answers = [
        client.suggest("how "),
        session.append(text="how are", k=2, every_step=True, scores=True, vector=True),
        session.state,
        *client.classify_batch([("1", "fail"), ("2", "plants")], model="topics"),
        *client.list_models(),
    ]

    def walk(value: object) -> None:
        assert not isinstance(value, Message)
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                walk(getattr(value, field.name))
        elif isinstance(value, tuple):
            for entry in value:
                walk(entry)

    for answer in answers:
        assert dataclasses.is_dataclass(answer)
        walk(answer)


def test_delete_session_may_be_repeated(client: Any) -> None:
    """Deleting a session that is deleted is fine; one that never was is not."""
    session = client.session("keyboard")
    client.delete_session(session.id)
    client.delete_session(session.id)
    with pytest.raises(errors.SessionUnknownError):
        client.delete_session("never-was")


def test_a_closed_client_refuses_calls(client: Any) -> None:
    """A call after close fails instead of waiting."""
    client.close()
    with pytest.raises(Exception, match=r"(?i)closed|shutdown|unavailable"):
        client.list_models()


def test_words_in_one_string_are_refused(client: Any) -> None:
    """A string where several words belong would be taken letter by letter."""
    for option in ("exclude", "extra_words"):
        with pytest.raises(TypeError, match=option):
            client.suggest("how ", **{option: "are"})


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 1e30])
def test_a_timeout_that_is_no_deadline_is_refused(client: Any, seconds: float) -> None:
    """gRPC takes infinity for a time long past: the call would fail at once, and be repeated without end."""
    keyboard = client.session("keyboard")
    for ask in (
        lambda: client.list_models(timeout_seconds=seconds),
        lambda: client.suggest("how ", timeout_seconds=seconds),
        lambda: keyboard.append(text="how", timeout_seconds=seconds),
        lambda: client.stream().suggest("how ", timeout_seconds=seconds),
        lambda: client.classify_batch([("1", "animals")], model="topics", timeout_seconds=seconds),
        lambda: list(client.classify([("1", "animals")], model="topics", timeout_seconds=seconds)),
        lambda: list(client.generate("how", model="keyboard", timeout_seconds=seconds)),
        lambda: Client("localhost:50051", timeout_seconds=seconds),
    ):
        with pytest.raises(ValueError, match="no call without a deadline"):
            ask()
    assert keyboard.append(text="how").revision == 1, "nothing is left unanswered that was never sent"
