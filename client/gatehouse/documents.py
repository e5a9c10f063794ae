"""Documents, and how they are cut into parts that fit into messages."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gatehouse import requests
from gatehouse.errors import InvalidInputError, Violation
from gatehouse.v1 import offline_pb2, online_pb2

PART_BYTES = 512 * 1024
"""The most content that one part carries, well below gRPC's usual limit of 4 MB for a message."""

_LONGEST_ID = 256

_Content = str | online_pb2.TokenSequence | online_pb2.FeatureSequence


@dataclass(frozen=True, slots=True)
class Document:
    """A whole sequence under an id of the caller's choice (1 to 256 characters).

    Exactly one of text, tokens and features is given.
    """

    id: str
    text: str | None = None
    tokens: Sequence[int] | None = None
    features: requests.Features | None = None

    def __post_init__(self) -> None:
        if sum(entry is not None for entry in (self.text, self.tokens, self.features)) != 1:
            raise TypeError(f"document {self.id!r}: give exactly one of text, tokens and features")
        if not isinstance(self.id, str):
            raise TypeError(
                f"document {self.id!r}: its id is to be a str, not of type {type(self.id).__name__}"
            )
        if not isinstance(self.text, str | None):
            kind = type(self.text).__name__
            raise TypeError(
                f"document {self.id!r}: text of type {kind}; a Document takes tokens and features, too"
            )


def of(entry: Document | tuple[str, str]) -> Document:
    """A document as callers hand it over: itself, or a pair of id and text. TypeError for anything else."""
    if isinstance(entry, Document):
        return entry
    # A text of two characters, and a dict with two keys, would pass for a pair.
    if not isinstance(entry, (str, bytes, Mapping)):
        try:
            document_id, text = entry
        except (TypeError, ValueError):
            pass
        else:
            return Document(document_id, text)
    raise TypeError(f"a document is a pair (id, text) or a Document, not {reprlib.repr(entry)}")


def weight_bytes(document: Document) -> int:
    """About how many bytes its content takes on the wire."""
    if document.text is not None:
        return len(document.text)
    if document.tokens is not None:
        return 4 * len(document.tokens)
    assert document.features is not None, "a document has one of the three"
    return requests.features_bytes(document.features)


def parts(document: Document, part_bytes: int = PART_BYTES) -> list[offline_pb2.Document]:
    """The messages that carry a document, in order; one when it is not longer than `part_bytes`.

    InvalidInputError when it holds what cannot be put on the wire, such as half of a surrogate pair or rows
    of different length, or has an id of which the server would answer a part only.
    """
    if len(document.id) > _LONGEST_ID:
        raise _refusal("document_id", f"expected 1 to {_LONGEST_ID} characters, got {len(document.id)}")
    field = "document_id"
    try:
        document.id.encode()
        field = (
            "text" if document.text is not None else "tokens" if document.tokens is not None else "features"
        )
        contents = list(_contents(document, part_bytes))
        return [
            _part(document.id, content, number, more=number < len(contents) - 1)
            for number, content in enumerate(contents)
        ]
    except (ValueError, TypeError, OverflowError) as error:
        raise _refusal(field, f"cannot be sent: {error}") from error


def _refusal(field: str, problem: str) -> InvalidInputError:
    return InvalidInputError(f"{field}: {problem}", violations=(Violation(field=field, description=problem),))


def _part(document_id: str, content: _Content, number: int, *, more: bool) -> offline_pb2.Document:
    part = offline_pb2.Document(document_id=document_id, part=number, more=more)
    if isinstance(content, str):
        part.text = content
    elif isinstance(content, online_pb2.TokenSequence):
        part.tokens.CopyFrom(content)
    else:
        part.features.CopyFrom(content)
    return part


def whole(document: Document) -> offline_pb2.Document:
    """The message that carries a document in one piece. InvalidInputError as in `parts`."""
    (message,) = parts(document, part_bytes=1 << 40)
    return message


def _contents(document: Document, part_bytes: int) -> Iterator[_Content]:
    if document.text is not None:
        yield from _cut_text(document.text, part_bytes)
    elif document.tokens is not None:
        # An empty document still is one part, for the server to refuse. An id takes at most 5 bytes.
        step = max(1, part_bytes // 5)
        for start in range(0, max(1, len(document.tokens)), step):
            yield online_pb2.TokenSequence(ids=document.tokens[start : start + step])
    elif document.features is not None:
        whole = requests.feature_sequence(document.features)
        row_bytes = max(1, 4 * whole.width)
        step = max(1, part_bytes // row_bytes) * row_bytes
        for start in range(0, max(1, len(whole.values)), step):
            yield online_pb2.FeatureSequence(width=whole.width, values=whole.values[start : start + step])


def _cut_text(text: str, part_bytes: int) -> Iterator[str]:
    encoded = text.encode()
    start = 0
    while len(encoded) - start > part_bytes:
        end = start + part_bytes
        # Bytes 10xxxxxx go on with a character that began before.
        while encoded[end] & 0xC0 == 0x80:
            end -= 1
        yield encoded[start:end].decode()
        start = end
    yield encoded[start:].decode()
