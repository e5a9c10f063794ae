"""Documents of one call on their way through the engine, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from gatehouse.v1 import offline_pb2

from gatehouse_server.engine.documents import DocumentScores
from gatehouse_server.engine.loop import Engine
from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import Draining, GatehouseError, InvalidInput
from gatehouse_server.telemetry.request_metrics import Finished, RequestMetrics
from gatehouse_server.transport.documents import DocumentEncoder, EncodedDocument
from gatehouse_server.transport.durations import fill_duration
from gatehouse_server.transport.parts import (
    LONGEST_ID,
    PartAssembler,
    RefusedDocument,
    WholeDocument,
)
from gatehouse_server.transport.status import fill_status

# Texts shorter than this together are encoded at once: handing them to another thread would take longer.
_AT_ONCE_CHARACTERS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLimits:
    """Bounds of a document, and of how many a call may have under way before it is read from no further."""

    max_document_steps: int = 100_000
    max_document_bytes: int = 4 * 1024 * 1024
    max_in_flight: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What every call needs of the server. `executor` is where texts are tokenized."""

    engine: Engine
    observer: Observer
    metrics: RequestMetrics
    executor: Executor
    limits: DocumentLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Which scores a result tells: of `labels`, the best `k`."""

    labels: tuple[str, ...]
    k: int


@dataclass(frozen=True, slots=True)
class _Asked:
    document_id: str
    path: str
    received_seconds: float
    owns_id: bool = False
    truncated: bool = False


class DocumentFlow:
    """Takes documents and parts, submits them, and is the sink for their answers.

    Documents are numbered from 0 as they become whole or fail; `place` gives the result that the answer of a
    number goes into, `flushed` is called when some were filled, and `room` waits while `has_room` is false.
    """

    def __init__(
        self,
        services: Services,
        *,
        encoder: DocumentEncoder,
        assembler: PartAssembler,
        ranking: Ranking,
        deadline_seconds: float | None,
        place: Callable[[int], offline_pb2.DocumentResult],
        flushed: Callable[[], None],
        has_room: Callable[[], bool],
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self._services = services
        self._engine = services.engine
        self._encoder = encoder
        self._assembler = assembler
        self._ranking = ranking
        self._deadline_seconds = deadline_seconds
        self._place = place
        self._flushed = flushed
        self._has_room = has_room
        self._room = room
        self._asked: dict[int, _Asked] = {}
        self._ids: set[str] = set()
        self._next_number = 0
        self._finished: list[Finished] = []
        self._gone = False

    @property
    def unanswered(self) -> int:
        """Documents that were taken and not yet answered."""
        return len(self._asked)

    async def take(self, documents: Sequence[offline_pb2.Document]) -> None:
        """Takes documents or parts; returns when all that are whole were handed to the engine."""
        whole: dict[int, WholeDocument] = {}
        for index, document in enumerate(documents):
            if not self._has_room():
                await self._submit(whole)
                whole = {}
                await self._room()
            outcome = self._accept(document)
            if outcome is None:
                continue
            number = self._register(outcome, f"documents[{index}].")
            if isinstance(outcome, RefusedDocument):
                self.add(number, outcome.error)
            else:
                whole[number] = outcome
        await self._submit(whole)

    def refuse_all(self, documents: Sequence[offline_pb2.Document], error: InvalidInput) -> None:
        """Answers every document of a message with an error."""
        for document in documents:
            self._assembler.refuse_rest(document)
            refused = RefusedDocument(document_id=document.document_id, error=error)
            self.add(self._register(refused, ""), error)
        self.flush()

    def end(self) -> None:
        """No more documents come. One of which parts are missing has failed."""
        refused = self._assembler.end()
        if refused is not None:
            self.add(self._register(refused, ""), refused.error)
            self.flush()

    def leave(self) -> None:
        """Nobody reads answers any more; those that come are counted."""
        self._gone = True

    def _is_read(self) -> bool:
        return not self._gone

    def add(self, tag: int, outcome: object) -> None:
        """Takes the answer to one document."""
        asked = self._asked.pop(tag)
        if asked.owns_id:
            self._ids.discard(asked.document_id)
        if self._gone:
            self._services.observer.happened(Happening.DROPPED_CANCELLED)
            return
        result = self._place(tag)
        code = "OK"
        try:
            if isinstance(outcome, DocumentScores):
                self._fill(result, asked, outcome)
            elif isinstance(outcome, BaseException):
                code = fill_status(result.status, outcome, path=asked.path)
            else:
                raise TypeError(f"the engine answered {type(outcome).__name__}")
        except Exception as error:  # one result that cannot be put into words must not cost the call
            result.Clear()
            code = fill_status(result.status, error)
        result.document_id = asked.document_id
        self._finished.append(("document", code, self._engine.clock() - asked.received_seconds))

    def flush(self) -> None:
        """All answers of a batch were added."""
        if self._finished:
            self._services.metrics.operations(self._finished)
            self._finished.clear()
        self._flushed()

    def _accept(self, document: offline_pb2.Document) -> WholeDocument | RefusedDocument | None:
        if document.part == 0 and document.document_id in self._ids:
            self._assembler.refuse_rest(document)
            error = InvalidInput.of_field(
                "document_id",
                f"expected an id that no document in flight has, got {document.document_id[:40]!r} again",
                reason="DUPLICATE_DOCUMENT_ID",
            )
            return RefusedDocument(document_id=document.document_id, error=error)
        return self._assembler.accept(document)

    def _register(self, document: WholeDocument | RefusedDocument, path: str) -> int:
        number = self._next_number
        self._next_number += 1
        owns_id = isinstance(document, WholeDocument)
        if owns_id:
            self._ids.add(document.document_id)
        self._asked[number] = _Asked(document.document_id[:LONGEST_ID], path, self._engine.clock(), owns_id)
        return number

    async def _submit(self, whole: dict[int, WholeDocument]) -> None:
        try:
            encoded = await self._encode(list(whole.values()))
        except asyncio.CancelledError:  # reading was cut short; the call still owes an answer for each
            for number in whole:
                self.add(number, Draining())
            self.flush()
            raise
        tickets = []
        for number, outcome in zip(whole, encoded, strict=True):
            if isinstance(outcome, InvalidInput):
                self.add(number, outcome)
                continue
            asked = self._asked[number]
            if outcome.truncated:
                self._asked[number] = replace(asked, truncated=True)
            tickets.append(
                Ticket(
                    operation=outcome.task,
                    sink=self,
                    tag=number,
                    received_seconds=asked.received_seconds,
                    deadline_seconds=self._deadline_seconds,
                    wanted=self._is_read,
                )
            )
        try:
            self._engine.submit_all(tickets)
        except GatehouseError as error:
            for ticket in tickets:
                self.add(ticket.tag, error)
        self.flush()

    async def _encode(self, whole: list[WholeDocument]) -> list[EncodedDocument | InvalidInput]:
        characters = sum(len(each.content) for each in whole if isinstance(each.content, str))
        if characters <= _AT_ONCE_CHARACTERS:
            return self._encoder.encode(whole)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._services.executor, self._encoder.encode, whole)

    def _fill(self, result: offline_pb2.DocumentResult, asked: _Asked, scores: DocumentScores) -> None:
        values = scores.scores
        labels, add = self._ranking.labels, result.scores.add
        # A stable sort of the negated values: ties go to the lower index.
        for index in np.argsort(-values, kind="stable")[: self._ranking.k].tolist():
            add(label=labels[index], score=values[index])
        result.step_count = scores.step_count
        result.truncated = asked.truncated
        fill_duration(result.timing.queue, scores.queue_seconds)
        fill_duration(result.timing.compute, scores.compute_seconds)
