"""Documents of one call on their way through the engine, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, cast

from gatehouse.v1 import offline_pb2

from gatehouse_server.engine.observer import Happening
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import Draining, GatehouseError, InvalidInput
from gatehouse_server.transport.document_counts import DocumentCounts
from gatehouse_server.transport.document_services import Services
from gatehouse_server.transport.document_trace import Computed
from gatehouse_server.transport.documents import DocumentEncoder, EncodedDocument
from gatehouse_server.transport.output_budget import OutputBudget
from gatehouse_server.transport.parts import LONGEST_ID, PartAssembler, RefusedDocument, WholeDocument
from gatehouse_server.transport.result_desk import ResultDesk
from gatehouse_server.transport.result_teller import AnswerT, ResultT, ResultTeller
from gatehouse_server.transport.status import fill_status

# Steps that are put into words at once, which takes about a millisecond.
_AT_ONCE_STEPS = 256


@dataclass(frozen=True, slots=True)
class _Asked:
    document_id: str
    path: str
    received_seconds: float
    owns_id: bool = False
    document: EncodedDocument | None = None


class DocumentFlow(Generic[ResultT, AnswerT]):
    """Takes documents and parts, submits them, and is the sink for their answers.

    Documents are numbered from 0 as they become whole or fail. `most_result_bytes` bounds what the results of all of
    them may take together, where they have to fit into one message.
    """

    def __init__(
        self,
        services: Services,
        *,
        encoder: DocumentEncoder,
        assembler: PartAssembler,
        teller: ResultTeller[ResultT, AnswerT],
        deadline_seconds: float | None,
        desk: ResultDesk[ResultT],
        most_result_bytes: int | None = None,
    ) -> None:
        self._services = services
        self._engine = services.engine
        self._encoder = encoder
        self._assembler = assembler
        self._teller = teller
        self._deadline_seconds = deadline_seconds
        self._desk = desk
        self._counts = DocumentCounts(services, parts=most_result_bytes is None)
        self._budget = OutputBudget(
            desk,
            most_in_flight_bytes=services.limits.max_output_bytes_in_flight,
            most_together_bytes=most_result_bytes,
        )
        self._asked: dict[int, _Asked] = {}
        self._ids: set[str] = set()
        self._next_number = 0
        self._filling: set[asyncio.Task[None]] = set()
        self._told_steps = 0
        self._gone = False

    @property
    def unanswered(self) -> int:
        """Documents that were taken and not yet answered."""
        return len(self._asked)

    async def take(self, documents: Sequence[offline_pb2.Document]) -> None:
        """Takes documents or parts; returns when all that are whole were handed to the engine."""
        whole: dict[int, WholeDocument] = {}
        for index, document in enumerate(documents):
            if not self._desk.has_room():
                await self._submit(whole)
                whole = {}
                await self._desk.room(self._desk.has_room)
            outcome = self._accept(document)
            if outcome is None:
                continue
            number = self._register(outcome, f"documents[{index}].")
            if isinstance(outcome, RefusedDocument):
                self.add(number, outcome.error)
            else:
                whole[number] = outcome
        await self._submit(whole)

    async def refuse_all(self, documents: Sequence[offline_pb2.Document], error: InvalidInput) -> None:
        """Answers every document of a message with an error, no sooner than there is room for its result."""
        for document in documents:
            if not self._desk.has_room():
                self.flush()
                await self._desk.room(self._desk.has_room)
            refused = self._assembler.refuse(document, error)
            if refused is not None:
                self.add(self._register(refused, ""), error)
        self.flush()

    def end(self) -> None:
        """No more documents come. One of which parts are missing has failed."""
        refused = self._assembler.end()
        if refused is not None:
            self.add(self._register(refused, ""), refused.error)
            self.flush()

    def leave(self) -> None:
        """Nobody reads answers any more; those that come are counted.

        With a deadline that has passed, the server was too slow for whatever has no answer.
        """
        self._gone = True
        if self._deadline_seconds is not None and self._engine.clock() >= self._deadline_seconds:
            self._counts.too_late(asked.received_seconds for asked in self._asked.values())
        self._counts.end()
        for filling in self._filling:
            filling.cancel()

    def _is_read(self) -> bool:
        return not self._gone

    def add(self, tag: int, outcome: object) -> None:
        """Takes the answer to one document."""
        answer = outcome if isinstance(outcome, self._teller.answer_type) else None
        computed_seconds = self._counts.computed()
        steps = 0 if answer is None else self._teller.step_count(answer)
        self._told_steps += steps
        if answer is not None and steps and self._told_steps > _AT_ONCE_STEPS and not self._gone:
            filling = asyncio.get_running_loop().create_task(self._fill_slowly(tag, answer, computed_seconds))
            self._filling.add(filling)
            filling.add_done_callback(partial(self._filling_ended, tag))
            return
        asked = self._forget(tag)
        if self._gone:
            self._services.observer.happened(Happening.DROPPED_CANCELLED)
            return
        size = self._teller.least_bytes if answer is None else self._teller.answer_bytes(answer)
        result = self._desk.place(tag, size)
        code = "OK"
        try:
            if answer is not None:
                document = self._filled(result, asked, answer)
                self._teller.fill_steps(result, document, answer, slice(None))
            elif isinstance(outcome, BaseException):
                code = fill_status(result.status, outcome, path=asked.path)
            else:
                raise TypeError(f"the engine answered {type(outcome).__name__}")
        except Exception as error:  # one result that cannot be put into words must not cost the call
            result.Clear()
            code = fill_status(result.status, error, path=asked.path)
        self._conclude(result, asked, code, answer, computed_seconds)

    def flush(self) -> None:
        """All answers of a batch were added."""
        self._told_steps = 0
        self._counts.flush()
        self._desk.flushed()

    def _accept(self, document: offline_pb2.Document) -> WholeDocument | RefusedDocument | None:
        if document.part == 0 and document.document_id in self._ids:
            error = InvalidInput.of_field(
                "document_id",
                f"expected an id that no document in flight has, got {document.document_id[:40]!r} again",
                reason="DUPLICATE_DOCUMENT_ID",
            )
            return self._assembler.refuse(document, error)
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
        owed = dict.fromkeys(whole)
        try:
            encoded = await self._encoder.encode_aside(list(whole.values()), self._services.executor)
            tickets: list[Ticket] = []
            for number, document in zip(whole, encoded, strict=True):
                outcome = self._budget.admitted(document)
                if isinstance(outcome, InvalidInput):
                    del owed[number]
                    self.add(number, outcome)
                    continue
                size = outcome.most_bytes
                if not self._budget.has_room_for(size):
                    self._hand_over(tickets)
                    tickets = []
                    await self._desk.room(partial(self._budget.has_room_for, size))
                del owed[number]
                self._budget.owe(size)
                asked = self._asked[number] = replace(self._asked[number], document=outcome)
                tickets.append(self._ticket(number, asked, outcome))
            self._hand_over(tickets)
        except asyncio.CancelledError:
            if self._engine.draining:  # reading was cut short, and the call still owes an answer for each
                for number in owed:
                    self.add(number, Draining())
                self.flush()
            else:  # the caller has left, or its deadline has passed: see `leave`
                self._services.observer.happened(Happening.DROPPED_CANCELLED, len(owed))
            raise

    def _ticket(self, number: int, asked: _Asked, document: EncodedDocument) -> Ticket:
        return Ticket(
            operation=document.task,
            sink=self,
            tag=number,
            received_seconds=asked.received_seconds,
            deadline_seconds=self._deadline_seconds,
            wanted=self._is_read,
        )

    def _hand_over(self, tickets: list[Ticket]) -> None:
        try:
            self._engine.submit_all(tickets)
        except GatehouseError as error:
            for ticket in tickets:
                self.add(ticket.tag, error)
        self.flush()

    def _filled(self, result: ResultT, asked: _Asked, answer: AnswerT) -> EncodedDocument:
        """Fills all of a result but its steps."""
        assert asked.document is not None, "only documents that were submitted are computed"
        size, most = self._teller.answer_bytes(answer), self._services.limits.max_output_bytes
        if size > most:
            raise InvalidInput(
                f"the result would take about {size} bytes, and at most {most} are allowed. Ask for less at a time",
                reason="OUTPUTS_TOO_LARGE",
            )
        self._budget.told(asked.document, size)
        self._teller.fill(result, asked.document, answer)
        return asked.document

    async def _fill_slowly(self, tag: int, answer: AnswerT, computed_seconds: float) -> None:
        """Puts many steps into words, some at a time and one result after the other: the event loop has other things
        to do.
        """
        asked = self._asked[tag]
        result, placed = self._desk.place_apart(tag, self._teller.answer_bytes(answer))
        code = "OK"
        try:
            async with self._services.scribe:
                document = self._filled(result, asked, answer)
                for first in range(0, self._teller.step_count(answer), _AT_ONCE_STEPS):
                    part = slice(first, first + _AT_ONCE_STEPS)
                    self._teller.fill_steps(result, document, answer, part)
                    await asyncio.sleep(0)
        except Exception as error:  # as in `add`
            result.Clear()
            code = fill_status(result.status, error, path=asked.path)
        self._forget(tag)
        self._conclude(result, asked, code, answer, computed_seconds)
        placed()
        self.flush()

    def _filling_ended(self, tag: int, filling: asyncio.Task[None]) -> None:
        """Also of one that was cancelled before it took its first step."""
        self._filling.discard(filling)
        if filling.cancelled():
            self._forget(tag)
            self._services.observer.happened(Happening.DROPPED_CANCELLED)

    def _forget(self, tag: int) -> _Asked:
        asked = self._asked.pop(tag)
        if asked.owns_id:
            self._ids.discard(asked.document_id)
        if asked.document is not None:
            self._budget.settle(asked.document.most_bytes)
        return asked

    def _conclude(
        self, result: ResultT, asked: _Asked, code: str, answer: AnswerT | None, computed_seconds: float
    ) -> None:
        result.document_id = asked.document_id
        self._counts.told(
            code,
            cast("Computed | None", answer),
            received_seconds=asked.received_seconds,
            computed_seconds=computed_seconds,
        )
