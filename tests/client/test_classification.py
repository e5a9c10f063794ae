"""Classifying a stream of documents: bounded, in order when asked, and undisturbed by single failures."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from gatehouse import Document, errors
from gatehouse.flight import Flight

from tests.client.fake_offline import LABELS, TEXT_LIMIT
from tests.client.fake_server import FakeServer


def _documents(count: int) -> Iterator[tuple[str, str]]:
    return ((str(number), f"{LABELS[number % 3]} {number}") for number in range(count))


def test_each_document_gets_its_result(client: Any) -> None:
    """A thousand documents give a thousand results, each with the label of its own document."""
    results = {result.id: result for result in client.classify(_documents(1000), model="topics")}
    assert len(results) == 1000
    assert all(results[str(number)].label == LABELS[number % 3] for number in range(1000))
    assert results["0"].score == 0.75
    assert [entry.label for entry in results["0"].scores] == ["animals", "plants", "stones"]


def test_results_in_order_when_asked(client: Any, server: FakeServer) -> None:
    """With `in_order` results keep the order of the documents even when the server answers backwards."""
    server.offline.reverse = True
    ids = [result.id for result in client.classify(_documents(500), model="topics", in_order=True)]
    assert ids == [str(number) for number in range(500)]


def test_results_come_as_they_finish_otherwise(client: Any, server: FakeServer) -> None:
    """Without `in_order` the server's order is kept."""
    server.offline.reverse = True
    ids = [result.id for result in client.classify(_documents(500), model="topics")]
    assert sorted(ids, key=int) != ids


def test_a_reader_that_stops_stops_the_sender(client: Any) -> None:
    """After the first result, at most `max_in_flight` documents more than were read back are ever taken."""
    taken = itertools.count()
    last_taken = 0

    def endless() -> Iterator[tuple[str, str]]:
        nonlocal last_taken
        for number in taken:
            last_taken = number
            yield str(number), "animals"

    results = client.classify(endless(), model="topics", max_in_flight=20)
    for read_back in range(1, 200):
        next(results)
        # One more may have left the iterable and wait for room.
        assert last_taken + 1 <= read_back + 20 + 1
    results.close()


def test_a_failed_document_fails_alone(client: Any) -> None:
    """A failure is the result's error, typed, and the documents around it are classified."""
    documents = [("1", "plants"), ("2", "fail"), ("3", "stones")]
    first, second, third = client.classify(documents, model="topics", in_order=True)
    assert (first.label, first.error, third.label) == ("plants", None, "stones")
    assert isinstance(second.error, errors.InvalidInputError)
    assert (second.label, second.score, second.scores) == (None, None, ())


@pytest.mark.parametrize(
    ("entry", "told"), [(("a", [5, 6]), "'a': text of type list"), ((7, "x"), "7: its id is to be a str")]
)
def test_a_document_of_another_type_is_told_at_once(client: Any, entry: Any, told: str) -> None:
    """The caller's loop ends with an error that names the document, not after a long silence."""
    with pytest.raises(TypeError, match=told):
        list(client.classify([("first", "animals"), entry], model="topics"))


@pytest.mark.parametrize("entry", ["ab", "animals", b"ab", {"id": "1", "text": "animals"}, ("1",), 5, None])
def test_what_is_no_document_is_refused(client: Any, entry: Any) -> None:
    """A text of two characters, or a row with two columns, does not pass for a pair of id and text."""
    with pytest.raises(TypeError, match="a document is a pair"):
        list(client.classify([entry], model="topics"))
    with pytest.raises(TypeError, match="a document is a pair"):
        client.classify_batch([entry], model="topics")


def test_a_defect_in_what_sends_ends_the_loop(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong between the iterable and the connection is raised in the caller's loop."""

    def broken(flight: Flight[Any]) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Flight, "next_request", broken)
    with pytest.raises(ZeroDivisionError):
        list(client.classify([("first", "animals")], model="topics"))


def test_half_a_surrogate_pair_fails_alone(client: Any) -> None:
    """Text that cannot be put on the wire fails without being sent, and the others go on."""
    results = {
        result.id: result for result in client.classify([("1", "\ud800"), ("2", "plants")], model="topics")
    }
    assert isinstance(results["1"].error, errors.InvalidInputError)
    assert results["1"].error.violations[0].field == "text"
    assert results["2"].label == "plants"


def test_an_id_that_would_come_back_cut_off_fails_alone(client: Any) -> None:
    """The server answers the beginning of a long id, which nobody would wait for."""
    results = list(
        client.classify([("x" * 300, "plants"), ("\ud800", "plants"), ("2", "plants")], model="topics")
    )
    fields = {
        result.id[:1]: result.error.violations[0].field
        for result in results
        if isinstance(result.error, errors.InvalidInputError)
    }
    assert fields == {"x": "document_id", "\ud800": "document_id"}
    assert [result.label for result in results if result.id == "2"] == ["plants"]


def test_long_documents_travel_in_parts(client: Any, server: FakeServer) -> None:
    """Two million characters arrive whole, in parts well below a megabyte, beside short documents."""
    long_text = "plants " + "ü" * 1_000_000
    documents = [("1", "animals"), ("2", long_text), ("3", "stones")]
    results = list(client.classify(documents, model="topics", in_order=True))
    assert [result.label for result in results] == ["animals", "plants", "stones"]
    assert results[1].step_count == len(long_text)
    assert server.offline.largest_part < 1_000_000


def test_truncate_is_passed_on(client: Any) -> None:
    """A document over the limit is refused, or cut and marked when `truncate` says so."""
    document = ("1", "plants " + "x" * TEXT_LIMIT)
    (refused,) = client.classify([document], model="topics")
    assert refused.error is not None
    (cut,) = client.classify([document], model="topics", truncate=True)
    assert (cut.truncated, cut.label) == (True, "plants")


def test_a_dropped_connection_loses_nothing(client: Any, server: FakeServer) -> None:
    """The stream breaks after 100 documents with results under way: each document has exactly one result."""
    server.offline.break_after = 100
    ids = [result.id for result in client.classify(_documents(1000), model="topics", in_order=True)]
    assert ids == [str(number) for number in range(1000)]
    assert server.calls["OfflineService.ClassifyStream"] == 2


def test_a_server_that_restarts_is_found_again(client: Any, server: FakeServer) -> None:
    """The server dies and comes back on its port while documents are under way: every result arrives."""

    def documents() -> Iterator[tuple[str, str]]:
        for number in range(300):
            if number == 150:
                server.stop()
                server.start()
            yield str(number), "plants"

    results = list(client.classify(documents(), model="topics", max_in_flight=10))
    assert sorted(int(result.id) for result in results) == list(range(300))


def test_documents_refused_by_a_draining_server_are_sent_again(client: Any, server: FakeServer) -> None:
    """A document that a server on its way out refuses is not failed: it is sent again on a new connection."""
    (result,) = client.classify([("1", "drain plants")], model="topics")
    assert result.error is None
    assert server.calls["OfflineService.ClassifyStream"] == 2


def test_the_same_id_twice_in_flight_is_refused_before_sending(client: Any, server: FakeServer) -> None:
    """A second document under an id without a result raises DuplicateDocumentError, also a ValueError."""
    server.offline.stall.clear()
    try:
        with pytest.raises(errors.DuplicateDocumentError, match="'1'"):
            list(client.classify([("1", "plants"), ("1", "stones")], model="topics"))
    finally:
        server.offline.stall.set()
    assert server.offline.documents_seen <= 1


def test_an_id_may_come_again_after_its_result(client: Any) -> None:
    """Ids need to be unique only among the documents in flight."""
    documents = (("same", "plants") for _ in range(5))
    results = list(client.classify(documents, model="topics", max_in_flight=1))
    assert [result.label for result in results] == ["plants"] * 5


def test_an_exception_of_the_iterable_reaches_the_caller(client: Any) -> None:
    """Whatever the caller's iterable raises comes out of the loop over the results."""

    def broken() -> Iterator[tuple[str, str]]:
        yield "1", "plants"
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(client.classify(broken(), model="topics"))


def test_a_refusal_of_the_whole_stream_is_raised(client: Any) -> None:
    """An unknown model ends the loop with its exception; nothing is tried again."""
    with pytest.raises(errors.ModelNotFoundError):
        list(client.classify(_documents(3), model="nope"))


def test_silence_ends_in_a_deadline(client: Any, server: FakeServer) -> None:
    """No result for `timeout_seconds` while documents are under way: DeadlineExceededError."""
    server.offline.stall.clear()
    try:
        with pytest.raises(errors.DeadlineExceededError):
            list(client.classify(_documents(3), model="topics", timeout_seconds=0.2))
    finally:
        server.offline.stall.set()


def test_a_connection_that_was_mended_is_not_blamed_later(client: Any, server: FakeServer) -> None:
    """It broke before the first result; the silence after that is a silence."""
    server.offline.break_after = 1
    results = client.classify([("a", "animals"), ("b", "silence")], model="topics", timeout_seconds=1)
    assert next(results).label == "animals"
    with pytest.raises(errors.DeadlineExceededError):
        next(results)


def test_no_documents_give_no_results(client: Any) -> None:
    """An empty iterable ends at once."""
    assert list(client.classify([], model="topics")) == []


def test_documents_of_other_kinds(client: Any) -> None:
    """A `Document` may carry tokens or features instead of text; two kinds at once are refused."""
    documents = [Document("1", tokens=[1, 2]), Document("2", features=[[0.5, 1.0]]), Document("3", "plants")]
    assert [result.id for result in client.classify(documents, model="topics", in_order=True)] == [
        "1",
        "2",
        "3",
    ]
    with pytest.raises(TypeError):
        Document("4", text="a", tokens=[1])


def test_threads_end_with_the_loop(server: FakeServer) -> None:
    """Leaving the loop early ends the threads that served it."""
    from gatehouse import Client

    with Client(server.target) as client:
        results = client.classify(_documents(10_000), model="topics")
        next(results)
        mine = [thread for thread in threading.enumerate() if thread.name.startswith("gatehouse-")]
        assert len(mine) == 2
        results.close()  # type: ignore[attr-defined]  # a generator
        for thread in mine:
            thread.join(10)
        assert not any(thread.is_alive() for thread in mine)
