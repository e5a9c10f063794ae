"""Which waiting documents make a batch: pure policy, without a device."""

import math
import random
from dataclasses import dataclass

import pytest
from gatehouse_server.engine.bucketing import OfflineBatching, WaitingDocuments
from hypothesis import given
from hypothesis import strategies as st

_lengths = st.lists(st.integers(1, 60), min_size=1, max_size=60)
_limits = st.builds(
    OfflineBatching,
    batch_tokens=st.integers(1, 300),
    max_batch_documents=st.integers(1, 12),
    window_documents=st.integers(1, 70),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document by its arrival and length."""

    arrival: int
    steps: int


def waiting_with(batching: OfflineBatching, lengths: list[int]) -> WaitingDocuments[Document]:
    """Documents of these lengths that arrived in this order."""
    waiting: WaitingDocuments[Document] = WaitingDocuments(batching)
    for arrival, steps in enumerate(lengths):
        document = Document(arrival=arrival, steps=steps)
        waiting.add(document, arrival=arrival, steps=steps, deadline_seconds=None)
    return waiting


def batches_of(waiting: WaitingDocuments[Document]) -> list[list[Document]]:
    """All batches until nothing waits."""
    batches = []
    while batch := waiting.take_batch():
        batches.append(batch)
    return batches


@given(_limits, _lengths)
def test_every_document_is_taken_once(batching: OfflineBatching, lengths: list[int]) -> None:
    """The batches together hold each document exactly once, and then nothing waits."""
    waiting = waiting_with(batching, lengths)
    assert len(waiting) == len(lengths)
    taken = [document.arrival for batch in batches_of(waiting) for document in batch]
    assert sorted(taken) == list(range(len(lengths)))
    assert len(waiting) == 0
    assert waiting.oldest_arrival is None


@given(_limits, _lengths)
def test_the_oldest_document_is_always_in_the_next_batch(
    batching: OfflineBatching, lengths: list[int]
) -> None:
    """None is starved, whatever its length: it waits at most for the batches of those that came before it."""
    waiting = waiting_with(batching, lengths)
    left = set(range(len(lengths)))
    while left:
        assert waiting.oldest_arrival == min(left)
        batch = {document.arrival for document in waiting.take_batch()}
        assert min(left) in batch
        left -= batch


@given(_limits, _lengths)
def test_a_batch_keeps_its_limits(batching: OfflineBatching, lengths: list[int]) -> None:
    """At most so many documents, and as many steps if all were as long as the longest; longest first."""
    for batch in batches_of(waiting_with(batching, lengths)):
        steps = [document.steps for document in batch]
        assert steps == sorted(steps, reverse=True)
        assert len(batch) <= batching.max_batch_documents
        assert len(batch) == 1 or len(batch) * steps[0] <= batching.batch_tokens


@given(_limits, _lengths)
def test_a_batch_is_a_run_of_neighbours_in_length(batching: OfflineBatching, lengths: list[int]) -> None:
    """No document of the window that stays behind has a length strictly within the batch's."""
    waiting = waiting_with(batching, lengths)
    left = dict(enumerate(lengths))
    while left:
        window = list(left)[: batching.window_documents]
        batch = {document.arrival for document in waiting.take_batch()}
        assert batch <= set(window)
        taken = [left[arrival] for arrival in batch]
        assert not any(min(taken) < left[other] < max(taken) for other in window if other not in batch)
        for arrival in batch:
            del left[arrival]


@given(_limits, _lengths)
def test_a_batch_is_as_large_as_the_limits_allow(batching: OfflineBatching, lengths: list[int]) -> None:
    """A neighbour stays behind only because it would break a limit."""
    waiting = waiting_with(batching, lengths)
    left = dict(enumerate(lengths))
    while left:
        window = dict(list(left.items())[: batching.window_documents])
        batch = waiting.take_batch()
        longest = batch[0].steps
        for document in batch:
            del window[document.arrival], left[document.arrival]
        if len(batch) < batching.max_batch_documents:
            for steps in window.values():
                assert (len(batch) + 1) * max(longest, steps) > batching.batch_tokens


def test_neighbours_are_near_by_ratio() -> None:
    """Beside 300 steps, 200 are farther than 440: a batch gets narrow by the ratio, not the difference."""
    waiting = waiting_with(OfflineBatching(max_batch_documents=2), [300, 200, 440])
    assert [document.steps for document in waiting.take_batch()] == [440, 300]


def test_documents_behind_the_window_wait_their_turn() -> None:
    """A perfect neighbour that came too late for the window is not taken before those of the window."""
    waiting = waiting_with(OfflineBatching(window_documents=2, max_batch_documents=2), [100, 7, 100])
    assert [document.arrival for document in waiting.take_batch()] == [0, 1]
    assert [document.arrival for document in waiting.take_batch()] == [2]


@given(_limits, _lengths, st.data())
def test_expired_documents_are_taken_out_and_never_batched(
    batching: OfflineBatching, lengths: list[int], data: st.DataObject
) -> None:
    """Exactly those whose deadline has passed are removed, from the window and from behind it."""
    waiting: WaitingDocuments[Document] = WaitingDocuments(batching)
    deadlines = [data.draw(st.one_of(st.none(), st.floats(0.0, 10.0))) for _ in lengths]
    for arrival, (steps, deadline) in enumerate(zip(lengths, deadlines, strict=True)):
        document = Document(arrival=arrival, steps=steps)
        waiting.add(document, arrival=arrival, steps=steps, deadline_seconds=deadline)
    taken = {document.arrival for document in waiting.take_batch()}
    expired = {document.arrival for document in waiting.take_expired(5.0)}
    assert expired == {
        arrival
        for arrival, deadline in enumerate(deadlines)
        if arrival not in taken and deadline is not None and deadline <= 5.0
    }
    rest = {document.arrival for batch in batches_of(waiting) for document in batch}
    assert rest == set(range(len(lengths))) - taken - expired


def test_documents_expire_behind_the_window_too() -> None:
    """A deadline holds also for a document that no batch could have taken yet."""
    waiting: WaitingDocuments[Document] = WaitingDocuments(OfflineBatching(window_documents=1))
    for arrival, deadline in enumerate((None, 1.0, None)):
        document = Document(arrival=arrival, steps=5)
        waiting.add(document, arrival=arrival, steps=5, deadline_seconds=deadline)
    assert [document.arrival for document in waiting.take_expired(2.0)] == [1]
    assert [[document.arrival for document in batch] for batch in batches_of(waiting)] == [[0], [2]]


@given(_limits, _lengths)
def test_taking_everything_leaves_nothing(batching: OfflineBatching, lengths: list[int]) -> None:
    """All documents come back oldest first, and a later document is served as usual."""
    waiting = waiting_with(batching, lengths)
    assert [document.arrival for document in waiting.take_all()] == list(range(len(lengths)))
    assert len(waiting) == 0
    late = Document(arrival=1000, steps=3)
    waiting.add(late, arrival=1000, steps=3, deadline_seconds=None)
    assert waiting.take_batch() == [late]


def test_a_steady_flow_of_mixed_lengths_is_batched_by_length() -> None:
    """With 1,000 documents of the reference mix waiting, a batch is at most a quarter wider than it is full.

    A ragged batch costs nothing by itself, since no padding is computed, but it gets narrow towards its end.
    Batches in order of arrival would be more than three times wider than full.
    """
    drawn = random.Random(1)
    lengths = [
        min(1000, max(10, round(drawn.lognormvariate(math.log(200) - 0.18, 0.6)))) for _ in range(20_000)
    ]
    waiting: WaitingDocuments[Document] = WaitingDocuments(OfflineBatching())
    useful = padded = arrival = 0
    while arrival < len(lengths):
        while len(waiting) < 1000 and arrival < len(lengths):
            document = Document(arrival=arrival, steps=lengths[arrival])
            waiting.add(document, arrival=arrival, steps=document.steps, deadline_seconds=None)
            arrival += 1
        batch = waiting.take_batch()
        useful += sum(document.steps for document in batch)
        padded += len(batch) * batch[0].steps
    assert padded / useful < 1.25


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch_tokens", 0), ("max_batch_documents", 0), ("window_documents", -3)],
)
def test_settings_that_cannot_work_are_refused(field: str, value: float) -> None:
    """Bounds below one, or a slice without time, raise and name the setting."""
    with pytest.raises(ValueError, match=field):
        OfflineBatching(**{field: value})  # type: ignore[arg-type]  # one field of several types


def test_documents_that_were_taken_are_not_remembered_for_their_deadlines() -> None:
    """Under a steady load, where something always waits, the memory is that of what waits."""
    waiting: WaitingDocuments[Document] = WaitingDocuments(OfflineBatching())
    for arrival in range(5000):
        waiting.add(Document(arrival=arrival, steps=10), arrival=arrival, steps=10, deadline_seconds=1e9)
        if len(waiting) > 100:
            waiting.take_batch()
    assert len(waiting) > 0
    assert len(waiting._deadlines) <= 2 * len(waiting) + 65
