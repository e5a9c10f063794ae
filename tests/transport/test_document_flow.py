"""Documents of one call on their way: no more under way than there is room for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import cast

from gatehouse.v1 import offline_pb2
from gatehouse_server.engine.loop import Engine
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.registry import Registry
from gatehouse_server.telemetry.metrics import Metrics
from gatehouse_server.transport.document_flow import DocumentFlow
from gatehouse_server.transport.document_form import form_of
from gatehouse_server.transport.document_results import DocumentTeller
from gatehouse_server.transport.document_services import DocumentLimits, Services
from gatehouse_server.transport.documents import DocumentEncoder
from gatehouse_server.transport.parts import PartAssembler

from tests.transport.stage import Happenings, PlayedEngine


@dataclass
class Desk:
    """Has room for a few results; when there is no more, those that were flushed are written."""

    most: int
    results: list[offline_pb2.DocumentResult] = field(default_factory=list)
    written: list[list[str]] = field(default_factory=list)
    unwritten_bytes: int = 0
    _flushed: int = 0

    @property
    def ids(self) -> list[str]:
        return [result.document_id for result in self.results]

    def has_room(self) -> bool:
        return len(self.results) < self.most

    async def room(self, is_room: Callable[[], bool]) -> None:
        assert self._flushed == len(self.results), "nobody would write the rest"
        self.written.append(self.ids)
        self.results.clear()
        assert is_room()

    def place(self, number: int, size_bytes: int) -> offline_pb2.DocumentResult:
        self.results.append(offline_pb2.DocumentResult())
        return self.results[-1]

    def place_apart(
        self, number: int, size_bytes: int
    ) -> tuple[offline_pb2.DocumentResult, Callable[[], None]]:
        return self.place(number, size_bytes), lambda: None

    def flushed(self) -> None:
        self._flushed = len(self.results)


async def test_refused_documents_wait_for_room_like_others(registry: Registry) -> None:
    """However many a message has: no more results are made than the connection takes."""
    model, limits, desk = registry.get("topics"), DocumentLimits(), Desk(most=4)
    form = form_of(model, offline_pb2.ClassifyOptions(), max_output_bytes=limits.max_output_bytes)
    flow = DocumentFlow(
        Services(
            engine=cast(Engine, PlayedEngine()),
            observer=Happenings(),
            metrics=Metrics().requests,
            executor=cast(Executor, None),
            limits=limits,
        ),
        encoder=DocumentEncoder(model, max_document_steps=10, truncate=False, form=form),
        assembler=PartAssembler(max_document_bytes=100, truncate=False),
        teller=DocumentTeller(form),
        deadline_seconds=None,
        desk=desk,
    )
    documents = [offline_pb2.Document(document_id=str(number), text="star") for number in range(10)]
    await flow.refuse_all(documents, InvalidInput("another model"))
    assert desk.written == [["0", "1", "2", "3"], ["4", "5", "6", "7"]]
    assert desk.ids == ["8", "9"]
    assert flow.unanswered == 0
