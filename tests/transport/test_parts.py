"""Documents from parts: contiguous, bounded, and each failing alone."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from gatehouse.v1 import offline_pb2, online_pb2
from gatehouse_server.errors import InvalidInput
from gatehouse_server.transport.parts import PartAssembler, RefusedDocument, WholeDocument


def part(document_id: str, number: int = 0, more: bool = False, **content: Any) -> offline_pb2.Document:
    """A document, or a part of one; with the text `x` unless content is given."""
    return offline_pb2.Document(document_id=document_id, part=number, more=more, **(content or {"text": "x"}))


def assembled(
    *documents: offline_pb2.Document, max_bytes: int = 1000, truncate: bool = False
) -> list[tuple[str, Any]]:
    """What comes out, in order: the id with the content, or with the reason of the refusal."""
    assembler = PartAssembler(max_document_bytes=max_bytes, truncate=truncate)
    outcomes = [*map(assembler.accept, documents), assembler.end()]
    return [
        (each.document_id, each.content if isinstance(each, WholeDocument) else each.error.reason)
        for each in outcomes
        if each is not None
    ]


def test_parts_are_joined() -> None:
    """A text comes out as if it had come in one part."""
    parts = [part("a", 0, True, text="he"), part("a", 1, True, text="llo "), part("a", 2, text="you")]
    assert assembled(*parts, part("b", text="z")) == [("a", "hello you"), ("b", "z")]


def test_parts_of_tokens_and_features_are_joined() -> None:
    """Arrays are joined along the steps."""
    tokens = assembled(part("a", 0, True, tokens={"ids": [1, 2]}), part("a", 1, tokens={"ids": [3]}))
    assert tokens[0][1].tolist() == [1, 2, 3]
    rows = [
        online_pb2.FeatureSequence(width=2, values=np.array(row, "<f4").tobytes())
        for row in ([1, 2], [3, 4, 5, 6])
    ]
    features = assembled(part("a", 0, True, features=rows[0]), part("a", 1, features=rows[1]))
    assert features[0][1].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_a_document_between_parts_fails_and_the_open_one_goes_on() -> None:
    """Its later parts are ignored, too; afterwards its id can be used anew."""
    outcomes = assembled(
        part("a", 0, True, text="1"),
        part("b", 0, True),
        part("a", 1, True, text="2"),
        part("b", 1),
        part("a", 2, text="3"),
        part("b", text="again"),
    )
    assert outcomes == [("b", "PARTS_INTERLEAVED"), ("a", "123"), ("b", "again")]


@pytest.mark.parametrize("number", [0, 2, -1, 7])
def test_a_part_out_of_order_fails_its_document(number: int) -> None:
    """Repeated, left out, negative: the document fails once, and the next one is taken."""
    outcomes = assembled(part("a", 0, True), part("a", number, True), part("a", 9), part("b"))
    assert outcomes == [("a", "PART_OUT_OF_ORDER"), ("b", "x")]


def test_a_document_that_begins_in_the_middle_fails() -> None:
    """Part 1 without part 0."""
    assert assembled(part("a", 1), part("b")) == [("a", "PART_OUT_OF_ORDER"), ("b", "x")]


def test_a_document_without_its_last_part_fails_with_the_stream() -> None:
    """The end of the stream is the end of the document."""
    assert assembled(part("b"), part("a", 0, True)) == [("b", "x"), ("a", "PART_OUT_OF_ORDER")]


def test_a_document_of_nothing_is_empty() -> None:
    """No content, no text, no tokens, no parts with any."""
    nothing = offline_pb2.Document(document_id="a")
    assert assembled(nothing) == [("a", "EMPTY_INPUT")]
    assert assembled(part("a", text="")) == [("a", "EMPTY_INPUT")]
    assert assembled(part("a", tokens={"ids": []})) == [("a", "EMPTY_INPUT")]
    assert assembled(part("a", 0, True, text=""), part("a", 1, text="")) == [("a", "EMPTY_INPUT")]


def test_parts_are_of_one_kind() -> None:
    """Text cannot go on with tokens."""
    outcomes = assembled(part("a", 0, True), part("a", 1, tokens={"ids": [1]}))
    assert outcomes == [("a", "WRONG_INPUT_KIND")]


def test_ids_are_bounded() -> None:
    """An id is needed, and 256 characters are the most."""
    assert [reason for _, reason in assembled(part(""), part("x" * 257))] == ["INVALID_INPUT"] * 2
    assert assembled(part("x" * 256))[0][1] == "x"


def test_a_document_over_the_limit_fails_at_once_and_is_not_kept() -> None:
    """It fails with the part that exceeds the limit, whatever follows of it, and nothing of it stays."""
    assembler = PartAssembler(max_document_bytes=10, truncate=False)
    assert assembler.accept(part("a", 0, True, text="12345678")) is None
    refused = assembler.accept(part("a", 1, True, text="é" * 2))
    assert isinstance(refused, RefusedDocument)
    assert refused.error.reason == "DOCUMENT_TOO_LONG"
    assert assembler.accept(part("a", 2, True, text="more")) is None
    assert assembler.accept(part("a", 3, text="more")) is None
    assert isinstance(assembler.accept(part("b")), WholeDocument)


def test_a_document_over_the_limit_is_cut_where_that_is_asked() -> None:
    """Between characters, ids or rows; what follows is only counted."""
    assembler = PartAssembler(max_document_bytes=9, truncate=True)
    assert assembler.accept(part("a", 0, True, text="1234567é")) is None
    assert assembler.accept(part("a", 1, True, text="é")) is None
    whole = assembler.accept(part("a", 2, text="end"))
    assert isinstance(whole, WholeDocument)
    assert (whole.content, whole.truncated) == ("1234567é", True)
    tokens = assembler.accept(part("b", tokens={"ids": [1, 2, 3]}))
    assert isinstance(tokens, WholeDocument)
    assert isinstance(tokens.content, np.ndarray)
    assert (tokens.content.tolist(), tokens.truncated) == ([1, 2], True)


@pytest.mark.parametrize("truncate", [False, True])
def test_of_a_part_far_over_the_limit_no_more_is_read_than_is_kept(truncate: bool) -> None:
    """It is refused, or cut, by the number of its ids."""
    assembler = PartAssembler(max_document_bytes=4000, truncate=truncate)
    long = part("a", tokens={"ids": range(300_000)})
    tracemalloc.start()
    try:
        outcome = assembler.accept(long)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 100_000
    if isinstance(outcome, WholeDocument):
        assert outcome.content.tolist() == list(range(1000))  # type: ignore[union-attr]
    assert isinstance(outcome, WholeDocument) == truncate


def test_rows_that_were_cut_off_are_not_kept() -> None:
    """What is left has memory of its own."""
    rows = online_pb2.FeatureSequence(width=2, values=np.arange(2000, dtype="<f4").tobytes())
    whole = PartAssembler(max_document_bytes=20, truncate=True).accept(part("a", features=rows))
    assert isinstance(whole, WholeDocument)
    assert isinstance(whole.content, np.ndarray)
    assert whole.content.tolist() == [[0, 1], [2, 3]]
    assert whole.content.base is None


@pytest.mark.parametrize("more", [True, False])
def test_a_part_that_is_refused_for_another_reason_fails_its_document_once(more: bool) -> None:
    """Whatever follows of it is ignored, and the next document is none of its business."""
    assembler, error = PartAssembler(max_document_bytes=100, truncate=False), InvalidInput("another model")
    assert assembler.accept(part("a", 0, True)) is None
    refused = assembler.refuse(part("a", 1, more), error)
    assert isinstance(refused, RefusedDocument)
    assert (refused.document_id, refused.error) == ("a", error)
    if more:
        assert assembler.refuse(part("a", 2, True), error) is None
        assert assembler.accept(part("a", 3)) is None
    assert isinstance(assembler.accept(part("b")), WholeDocument)
    assert assembler.end() is None


def smallest_part(kind: str, number: int, more: bool = True) -> offline_pb2.Document:
    """A part of one step, or of two characters."""
    if kind == "text":
        return part("a", number, more, text=f"{number % 100:02}")
    if kind == "tokens":
        return part("a", number, more, tokens={"ids": [number]})
    values = np.array([number], "<f4").tobytes()
    return part("a", number, more, features=online_pb2.FeatureSequence(width=1, values=values))


@pytest.mark.parametrize("kind", ["text", "tokens", "features"])
def test_a_document_in_the_smallest_parts_takes_little_more_than_its_content(kind: str) -> None:
    """However many there are, and it comes out whole."""
    count = 20_000
    assembler = PartAssembler(max_document_bytes=10**6, truncate=False)
    tracemalloc.start()
    try:
        for number in range(count):
            assert assembler.accept(smallest_part(kind, number)) is None
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 10 * count + 500_000
    whole = assembler.accept(smallest_part(kind, count, more=False))
    assert isinstance(whole, WholeDocument)
    if isinstance(whole.content, str):
        assert whole.content == "".join(f"{number % 100:02}" for number in range(count + 1))
    else:
        assert whole.content.ravel().tolist() == list(range(count + 1))


def test_rows_of_other_widths_fail_their_document_however_many_parts_it_has() -> None:
    """A width has to stay, also where it changes long after the first parts."""
    rows = [
        online_pb2.FeatureSequence(width=width, values=np.zeros(width, "<f4").tobytes()) for width in (1, 2)
    ]
    for changed in (1, 1023, 1024, 1025):
        parts = [part("a", number, True, features=rows[number >= changed]) for number in range(1500)]
        assert assembled(*parts, part("a", 1500, features=rows[1]), max_bytes=10**6) == [("a", "WRONG_WIDTH")]
