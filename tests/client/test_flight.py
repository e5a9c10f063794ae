"""The bookkeeping of documents under way, without any network."""

from __future__ import annotations

from typing import Any

import pytest
from gatehouse.conversation import READING
from gatehouse.documents import PART_BYTES, Document, parts
from gatehouse.errors import InvalidInputError
from gatehouse.flight import Flight
from gatehouse.results import DocumentResult
from gatehouse.v1 import offline_pb2


def _flight(*, in_order: bool = False, max_in_flight: int = 4) -> Flight[DocumentResult]:
    options = offline_pb2.ClassifyOptions(k=1)
    return Flight(READING, model="topics", options=options, in_order=in_order, max_in_flight=max_in_flight)


def _answer(*ids: str) -> offline_pb2.ClassifyStreamResponse:
    results = [offline_pb2.DocumentResult(document_id=document_id) for document_id in ids]
    return offline_pb2.ClassifyStreamResponse(results=results)


def test_room_is_taken_until_the_result_is() -> None:
    """A document takes room until its result has been taken, not merely answered."""
    flight = _flight(max_in_flight=2)
    flight.admit(Document("a", "x"))
    flight.admit(Document("b", "x"))
    assert not flight.has_room()
    flight.next_request()
    flight.settle(_answer("a"))
    assert not flight.has_room()
    assert flight.take().id == "a"
    assert flight.has_room()


def test_a_document_larger_than_the_bound_still_travels_alone() -> None:
    """40 MB of text close the intake behind them, but are admitted themselves."""
    flight = _flight()
    assert flight.has_room()
    flight.admit(Document("a", "x" * 40_000_000))
    assert not flight.has_room()


@pytest.mark.parametrize(
    "features",
    [memoryview(bytes(16 << 20)).cast("f", (1 << 20, 4)), [[0.0] * 4096] * 1024],
    ids=["buffer", "rows"],
)
def test_features_take_room_as_text_does(features: Any) -> None:
    """Two documents of 16 MB close the intake, whatever they are made of."""
    flight = _flight()
    flight.admit(Document("a", features=features))
    assert flight.has_room()
    flight.admit(Document("b", features=features))
    assert not flight.has_room()
    flight.settle(_answer("a"))
    flight.take()
    assert flight.has_room()


@pytest.mark.parametrize("features", [[1.0, 2.0], 5, [[1.0], None]], ids=["flat", "number", "hole"])
def test_features_that_are_none_still_fail_alone(features: Any) -> None:
    """They are admitted and have a result."""
    flight = _flight()
    flight.admit(Document("a", features=features))
    assert flight.next_request() is None
    assert isinstance(flight.take().error, InvalidInputError)


def test_results_that_come_too_early_close_the_intake() -> None:
    """In order, from 64 MiB of them on no document is admitted until the one that they wait for has its result."""
    flight = _flight(in_order=True)
    for name in "abc":
        flight.admit(Document(name, "x"))
    for name in "bc":
        assert flight.has_room()
        early = offline_pb2.DocumentResult(document_id=name, hidden=b"\0" * 2**25)
        flight.settle(offline_pb2.ClassifyStreamResponse(results=[early]))
    assert not flight.has_room()
    assert flight.may_settle()
    flight.settle(_answer("a"))
    assert flight.take().id == "a"
    assert flight.has_room()


def test_what_waits_goes_into_one_message() -> None:
    """Documents that wait together are sent together; model and options stand in the first message only."""
    flight = _flight()
    for name in "abc":
        flight.admit(Document(name, "x"))
    request = flight.next_request()
    assert request is not None
    assert [document.document_id for document in request.documents] == ["a", "b", "c"]
    assert isinstance(request, offline_pb2.ClassifyStreamRequest)
    assert (request.model, request.options.k) == ("topics", 1)
    assert flight.next_request() is None
    flight.admit(Document("d", "x"))
    following = flight.next_request()
    assert following is not None
    assert following.model == ""
    assert not following.HasField("options")


def test_in_order_holds_back_what_is_early() -> None:
    """In order, a result waits for those before it, and then all come out."""
    flight = _flight(in_order=True)
    for name in "abc":
        flight.admit(Document(name, "x"))
    flight.settle(_answer("c", "b"))
    assert not flight.has_ready()
    flight.settle(_answer("a"))
    assert [flight.take().id for _ in range(3)] == ["a", "b", "c"]


def test_starting_over_sends_the_unanswered_in_order() -> None:
    """After a break everything unanswered is sent again from its first part, nothing that was answered."""
    flight = _flight()
    flight.admit(Document("a", "x"))
    flight.admit(Document("b", "x" * (2 * PART_BYTES)))
    flight.admit(Document("c", "x"))
    flight.next_request()
    flight.settle(_answer("a"))
    flight.start_over()
    request = flight.next_request()
    assert request is not None
    assert request.model == "topics"
    assert [(part.document_id, part.part) for part in request.documents] == [("b", 0)]


def test_a_late_answer_is_ignored() -> None:
    """An answer for a document that has one already changes nothing."""
    flight = _flight()
    flight.admit(Document("a", "x"))
    flight.settle(_answer("a"))
    flight.settle(_answer("a"))
    assert flight.take().id == "a"
    assert not flight.has_ready()


def test_finished_when_every_result_is_taken() -> None:
    """It is finished when the intake is closed and the last result taken, not before."""
    flight = _flight()
    flight.admit(Document("a", "x"))
    flight.close_intake()
    flight.settle(_answer("a"))
    assert not flight.finished()
    flight.take()
    assert flight.finished()


def test_no_room_at_all_is_refused() -> None:
    """`max_in_flight` below 1 could never do anything."""
    with pytest.raises(ValueError, match="at least 1"):
        _flight(max_in_flight=0)


@pytest.mark.parametrize("text", ["", "x", "ü" * 5, "日本語 text 🙂" * 7])
def test_parts_join_to_the_text(text: str) -> None:
    """Cut at any size, the parts are numbered, bounded, and join to the text; no character is torn."""
    for size in range(4, 12):
        cut = parts(Document("a", text), part_bytes=size)
        assert "".join(part.text for part in cut) == text
        assert [part.part for part in cut] == list(range(len(cut)))
        assert [part.more for part in cut] == [True] * (len(cut) - 1) + [False]
        assert all(len(part.text.encode()) <= size for part in cut)


def test_token_and_feature_parts_join() -> None:
    """Tokens and feature rows are cut between steps."""
    tokens = list(range(1000))
    cut = parts(Document("a", tokens=tokens), part_bytes=100)
    assert [token for part in cut for token in part.tokens.ids] == tokens
    rows = [[float(row), 1.0, 2.0] for row in range(50)]
    pieces = parts(Document("a", features=rows), part_bytes=100)
    whole = parts(Document("a", features=rows))[0].features.values
    assert len(pieces) > 1
    assert b"".join(part.features.values for part in pieces) == whole
    assert all(len(part.features.values) % 12 == 0 for part in pieces)


@pytest.mark.parametrize("in_order", [False, True])
def test_large_results_are_taken_before_more_are_read(in_order: bool) -> None:
    """64 MiB of results that can be taken are enough; one that waits for another before it holds nothing up."""
    flight = _flight(in_order=in_order)
    for name in "abc":
        flight.admit(Document(name, "x"))
    flight.next_request()
    large = [offline_pb2.DocumentResult(document_id=name, hidden=b"\0" * 2**25) for name in "bca"]
    for result in large[:2]:
        flight.settle(offline_pb2.ClassifyStreamResponse(results=[result]))
    assert flight.may_settle() is in_order
    flight.settle(offline_pb2.ClassifyStreamResponse(results=large[2:]))
    assert not flight.may_settle()
    for _ in range(2):
        flight.take()
    assert flight.may_settle()


def test_a_number_that_no_float_holds_fails_its_document() -> None:
    """A whole number beyond all floats is a document's error, not the end of the stream."""
    with pytest.raises(InvalidInputError, match="features: cannot be sent"):
        parts(Document("a", features=[[10**400]]))
