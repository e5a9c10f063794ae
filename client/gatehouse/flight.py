"""The documents under way on a stream: which to send next, which are unanswered, in what order
results go out. No I/O and no waiting; each twin guards it with its own kind of lock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic

from gatehouse import documents
from gatehouse.conversation import Conversation, Options, Request, Response, ResultT
from gatehouse.documents import PART_BYTES, Document
from gatehouse.errors import DuplicateDocumentError, GatehouseError, InvalidInputError, UnavailableError
from gatehouse.v1 import offline_pb2

_MAX_DOCUMENTS_PER_MESSAGE = 64
_MAX_CONTENT_BYTES = 32 * 1024 * 1024
_MAX_READY_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class _Entry:
    """A document that has no result yet, and its place in the order of arrival."""

    document: Document
    number: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Finished(Generic[ResultT]):
    """A result that waits to be taken, and about what it takes."""

    entry: _Entry
    result: ResultT
    size_bytes: int


class Flight(Generic[ResultT]):
    """Documents between the caller's iterable and the caller's loop over results.

    A document takes room from `admit` until its result is taken with `take`, so that a caller who stops
    reading results stops the sender after `max_in_flight` documents (or 32 MiB of content, or 64 MiB of results,
    whichever comes first). Results that came too early `in_order` cannot be held off, since the one that they wait for
    may be behind them; but from 64 MiB of them on no other document is admitted.
    """

    def __init__(
        self,
        conversation: Conversation[ResultT],
        *,
        model: str,
        options: Options,
        in_order: bool,
        max_in_flight: int,
    ) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight must be at least 1, not {max_in_flight}")
        self._conversation = conversation
        self._model = model
        self._options = options
        self._in_order = in_order
        self._max_in_flight = max_in_flight
        self._admitted = 0
        self._released = 0
        self._size_bytes = 0
        self._unanswered: dict[str, _Entry] = {}
        self._to_send: deque[_Entry] = deque()
        self._parts: deque[offline_pb2.Document] = deque()
        self._first_message = True
        self._ready: deque[_Finished[ResultT]] = deque()
        self._early: dict[int, _Finished[ResultT]] = {}
        self._ready_bytes = 0
        self._early_bytes = 0
        self._all_admitted = False

    # From the caller's iterable.

    def has_room(self) -> bool:
        """True when another document may be admitted."""
        in_flight = self._admitted - self._released
        return in_flight == 0 or (
            in_flight < self._max_in_flight
            and self._size_bytes < _MAX_CONTENT_BYTES
            and self._early_bytes < _MAX_READY_BYTES
        )

    def admit(self, document: Document) -> None:
        """Takes a document. DuplicateDocumentError when its id is that of one without a result."""
        if document.id in self._unanswered:
            raise DuplicateDocumentError(
                f"document {document.id!r} comes again before its first one has a result; ids must be "
                "unique among the documents in flight"
            )
        entry = _Entry(document, self._admitted, documents.weight_bytes(document))
        self._admitted += 1
        self._size_bytes += entry.size_bytes
        self._unanswered[document.id] = entry
        self._to_send.append(entry)

    def close_intake(self) -> None:
        """No document follows."""
        self._all_admitted = True

    def intake_closed(self) -> bool:
        """True when no document follows."""
        return self._all_admitted

    # To and from the server.

    def has_unanswered(self) -> bool:
        """True when the server owes results."""
        return bool(self._unanswered)

    def has_something_to_send(self) -> bool:
        """True when `next_request` has a message."""
        return bool(self._parts or self._to_send)

    def all_sent(self) -> bool:
        """True when no document follows and none waits: time to half-close."""
        return self._all_admitted and not self.has_something_to_send()

    def next_request(self) -> Request | None:
        """What is waiting, up to the size of a message; None when nothing can be sent."""
        batch: list[offline_pb2.Document] = []
        size = 0
        while size < PART_BYTES and len(batch) < _MAX_DOCUMENTS_PER_MESSAGE:
            if not self._parts:
                if not self._to_send:
                    break
                self._cut(self._to_send.popleft())
                continue
            part = self._parts[0]
            part_size = part.ByteSize()
            if batch and size + part_size > PART_BYTES:
                break
            batch.append(self._parts.popleft())
            size += part_size
        if not batch:
            return None
        first, self._first_message = self._first_message, False
        return self._conversation.request(
            model=self._model if first else "",
            documents=batch,
            options=self._options if first else None,
        )

    def may_settle(self) -> bool:
        """False while results that can be taken fill the memory: take some first."""
        return self._ready_bytes < _MAX_READY_BYTES

    def settle(self, response: Response) -> bool:
        """Takes results. False when the server refused documents because it is going away: reconnect."""
        stays = True
        for message in response.results:
            result = self._conversation.decode(message)
            if isinstance(result.error, UnavailableError):
                stays = False
            else:
                self._finish(result, message.ByteSize())
        return stays

    def start_over(self) -> None:
        """Sends everything unanswered again, in the order of arrival, on a new stream."""
        self._parts.clear()
        self._to_send = deque(sorted(self._unanswered.values(), key=lambda entry: entry.number))
        self._first_message = True

    # To the caller.

    def has_ready(self) -> bool:
        """True when `take` has a result."""
        return bool(self._ready)

    def take(self) -> ResultT:
        """The next result. Its document's room is free from now on."""
        finished = self._ready.popleft()
        self._ready_bytes -= finished.size_bytes
        self._released += 1
        self._size_bytes -= finished.entry.size_bytes
        return finished.result

    def finished(self) -> bool:
        """True when every document was admitted and every result taken."""
        return self._all_admitted and self._released == self._admitted

    def _cut(self, entry: _Entry) -> None:
        try:
            self._parts.extend(documents.parts(entry.document))
        except InvalidInputError as error:
            self._fail(entry, error)

    def _fail(self, entry: _Entry, error: GatehouseError) -> None:
        self._finish(self._conversation.result(id=entry.document.id, error=error))

    def _finish(self, result: ResultT, size_bytes: int = 0) -> None:
        entry = self._unanswered.pop(result.id, None)
        if entry is None:
            return  # Answered before, on a stream that has broken since.
        finished = _Finished(entry, result, size_bytes)
        if not self._in_order:
            self._make_ready(finished)
            return
        self._early[entry.number] = finished
        self._early_bytes += size_bytes
        while (following := self._released + len(self._ready)) in self._early:
            finished = self._early.pop(following)
            self._early_bytes -= finished.size_bytes
            self._make_ready(finished)

    def _make_ready(self, finished: _Finished[ResultT]) -> None:
        self._ready.append(finished)
        self._ready_bytes += finished.size_bytes
