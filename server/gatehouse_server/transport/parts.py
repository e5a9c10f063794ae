"""Documents from the parts in which they arrive.

Parts of one document follow each other; what breaks that rule fails alone, and the document that was open
goes on. A document over the byte limit fails with the part that exceeds it, and nothing of it is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from gatehouse.v1 import offline_pb2

from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions.operations import Features, Tokens
from gatehouse_server.transport.fields import decode_features

LONGEST_ID = 256

_ID_BYTES = 4
_VALUE_BYTES = 4
_REMEMBERED_IDS = 4096

_LOOSE_PIECES = 1024
"""Pieces are joined when so many have gathered: each costs up to 250 bytes beside its content, which may be four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeDocument:
    """A document with all its parts: text, token ids (T,) or features (T, N). `truncated` when bytes were cut
    off.
    """

    document_id: str
    content: str | Tokens | Features
    truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedDocument:
    """A document that failed before it was whole."""

    document_id: str
    error: InvalidInput


class PartAssembler:
    """Puts the documents of one stream together. `max_document_bytes` bounds each, `truncate` cuts there."""

    def __init__(self, *, max_document_bytes: int, truncate: bool) -> None:
        self._max_bytes = max_document_bytes
        self._truncate = truncate
        self._open: _OpenDocument | None = None
        # Failed documents of which more parts may come. Bounded: a forgotten one would only fail once more.
        self._ignored: OrderedDict[str, None] = OrderedDict()

    def accept(self, document: offline_pb2.Document) -> WholeDocument | RefusedDocument | None:
        """Takes a document or a part. Answers the document when it is whole or has failed, else None."""
        if self._is_ignored(document):
            return None
        document_id, opened = document.document_id, self._open
        try:
            if opened is None:
                opened = self._begin(document)
            elif opened.document_id != document_id:
                raise InvalidInput.of_field(
                    "document_id",
                    f"part {document.part} came while {opened.document_id[:40]!r} was open: "
                    "expected all parts of one document before the next",
                    reason="PARTS_INTERLEAVED",
                )
            opened.take(document, self._max_bytes, self._truncate)
            if document.more:
                self._open = opened
                return None
            self._open = None
            return opened.whole()
        except InvalidInput as error:
            return self._failed(document, error)

    def refuse(self, document: offline_pb2.Document, error: InvalidInput) -> RefusedDocument | None:
        """Fails a document, or the one that a part belongs to, for another reason. Answers None when it has failed
        before.
        """
        return None if self._is_ignored(document) else self._failed(document, error)

    def end(self) -> RefusedDocument | None:
        """The document that is still open when the stream ends: it has failed."""
        opened, self._open = self._open, None
        if opened is None:
            return None
        error = InvalidInput.of_field(
            "part", f"expected part {opened.next_part}, and the stream ended", reason="PART_OUT_OF_ORDER"
        )
        return RefusedDocument(document_id=opened.document_id, error=error)

    def _begin(self, document: offline_pb2.Document) -> _OpenDocument:
        if not 1 <= len(document.document_id) <= LONGEST_ID:
            raise InvalidInput.of_field(
                "document_id", f"expected 1 to {LONGEST_ID} characters, got {len(document.document_id)}"
            )
        return _OpenDocument(document.document_id)

    def _is_ignored(self, document: offline_pb2.Document) -> bool:
        """Whether it is a further part of a document that has failed."""
        document_id = document.document_id
        if document_id not in self._ignored:
            return False
        if not (document.part and document.more):
            del self._ignored[document_id]
        return document.part != 0

    def _failed(self, document: offline_pb2.Document, error: InvalidInput) -> RefusedDocument:
        if self._open is not None and self._open.document_id == document.document_id:
            self._open = None
        if document.more:
            self._ignore(document.document_id)
        return RefusedDocument(document_id=document.document_id, error=error)

    def _ignore(self, document_id: str) -> None:
        if len(document_id) <= LONGEST_ID:
            self._ignored[document_id] = None
        if len(self._ignored) > _REMEMBERED_IDS:
            self._ignored.popitem(last=False)


@dataclass(slots=True)
class _OpenDocument:
    document_id: str
    kind: str | None = None
    next_part: int = 0
    size_bytes: int = 0
    truncated: bool = False
    joined: list[str | Tokens | Features] = field(default_factory=list)
    loose: list[str | Tokens | Features] = field(default_factory=list)

    def take(self, document: offline_pb2.Document, max_bytes: int, truncate: bool) -> None:
        if document.part != self.next_part:
            raise InvalidInput.of_field(
                "part", f"expected part {self.next_part}, got {document.part}", reason="PART_OUT_OF_ORDER"
            )
        self.next_part += 1
        kind = document.WhichOneof("content")
        if kind is None:
            return
        if self.kind not in (None, kind):
            raise InvalidInput.of_field(
                kind, f"expected {self.kind}, as in the part before", reason="WRONG_INPUT_KIND"
            )
        self.kind = kind
        if self.truncated:
            return
        size_bytes, room_bytes = _size_bytes(document, kind), max_bytes - self.size_bytes
        self.truncated = size_bytes > room_bytes
        if self.truncated and not truncate:
            raise InvalidInput.of_field(
                kind,
                f"expected at most {max_bytes} bytes in all parts together, "
                f"got {self.size_bytes + size_bytes} so far. Set options.truncate to have it cut",
                reason="DOCUMENT_TOO_LONG",
                metadata={"max_document_bytes": str(max_bytes)},
            )
        piece = _piece(document, kind, room_bytes)
        self.size_bytes += size_bytes
        if len(piece):
            self.loose.append(piece)
            if len(self.loose) == _LOOSE_PIECES:
                self.joined.append(_joined(self.loose))
                self.loose = []

    def whole(self) -> WholeDocument:
        pieces = self.joined + self.loose
        if not pieces:
            raise InvalidInput.of_field(
                self.kind or "content", "expected at least one step, got none", reason="EMPTY_INPUT"
            )
        return WholeDocument(document_id=self.document_id, content=_joined(pieces), truncated=self.truncated)


def _size_bytes(document: offline_pb2.Document, kind: str) -> int:
    """What the content of a part takes. Of ids it is known without reading them."""
    if kind == "text":
        text = document.text
        return len(text) if text.isascii() else len(text.encode())
    return _ID_BYTES * len(document.tokens.ids) if kind == "tokens" else len(document.features.values)


def _piece(document: offline_pb2.Document, kind: str, room_bytes: int) -> str | Tokens | Features:
    """As much of the content of a part as there is room for: whole characters, ids or rows."""
    if kind == "text":
        text = document.text
        # No character has more than four bytes.
        fits = len(text) * 4 <= room_bytes or len(text.encode()) <= room_bytes
        return text if fits else text.encode()[:room_bytes].decode(errors="ignore")
    if kind == "tokens":
        return np.array(document.tokens.ids[: room_bytes // _ID_BYTES], np.int64)
    rows = decode_features(document.features.width, document.features.values, "features")
    room_rows = room_bytes // (_VALUE_BYTES * rows.shape[1])
    return rows if len(rows) <= room_rows else rows[:room_rows].copy()  # a view would keep all of them


def _joined(pieces: list[str | Tokens | Features]) -> str | Tokens | Features:
    if len(pieces) == 1:
        return pieces[0]
    if isinstance(pieces[0], str):
        return "".join(piece for piece in pieces if isinstance(piece, str))
    arrays = [piece for piece in pieces if not isinstance(piece, str)]
    if len({array.shape[1:] for array in arrays}) > 1:
        raise InvalidInput.of_field(
            "features.width",
            f"expected {arrays[0].shape[1]} values a step in every part",
            reason="WRONG_WIDTH",
        )
    return cast(Tokens | Features, np.concatenate(arrays))
