"""Classification without a server, for notebooks, Ray and tests: the same encoder and the same batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gatehouse_server.app.arithmetic import prepare_device
from gatehouse_server.engine.bucketing import OfflineBatching
from gatehouse_server.engine.documents import DocumentScores
from gatehouse_server.engine.loop import Answers
from gatehouse_server.engine.observer import SilentObserver
from gatehouse_server.engine.offline import OfflineLane
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import GatehouseError, InvalidInput
from gatehouse_server.models.folder import load_folder
from gatehouse_server.network.arithmetic import FLOAT32
from gatehouse_server.transport.documents import DocumentEncoder
from gatehouse_server.transport.parts import WholeDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """A document's labels with their scores, best first; or, with `error`, none."""

    scores: tuple[tuple[str, float], ...] = ()
    step_count: int = 0
    truncated: bool = False
    error: GatehouseError | None = None

    @property
    def label(self) -> str | None:
        """The best label; None when the document failed."""
        return self.scores[0][0] if self.scores else None

    @property
    def score(self) -> float | None:
        """The best label's score; None when the document failed."""
        return self.scores[0][1] if self.scores else None


class _Discard:
    """The lane's answers are read from its list; nobody waits at a sink."""

    def add(self, tag: int, outcome: object) -> None:
        """Never called."""

    def flush(self) -> None:
        """Never called."""


class DocumentClassifier:
    """A classifier of whole documents, loaded from a folder `<name>/<version>`. For one thread at a time.

    Raises ModelFolderError for a folder with a defect and InvalidInput when the model is no classifier.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "cpu",
        max_document_steps: int = 100_000,
        truncate: bool = False,
    ) -> None:
        prepare_device(device, FLOAT32)
        self._model = load_folder(Path(folder), device)
        if self._model.config.task != "classifier":
            kind = self._model.config.task.replace("_", " ")
            raise InvalidInput.of_field(
                "folder",
                f"expected a classifier, and {self._model.key} is a {kind}",
                reason="WRONG_MODEL_KIND",
            )
        self._encoder = DocumentEncoder(self._model, max_document_steps=max_document_steps, truncate=truncate)
        self._lane = OfflineLane(
            networks={self._model.content_key: self._model.network},
            batching=OfflineBatching(),
            observer=SilentObserver(),
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, by output index."""
        return self._model.labels

    def classify(self, texts: Iterable[str]) -> list[Classification]:
        """One result for each text, in their order. One that cannot be taken has a result with an error."""
        if isinstance(texts, str):
            raise TypeError("classify takes several texts; put a single one into a list")
        documents = [WholeDocument(document_id="", content=text) for text in texts]
        encoded = self._encoder.encode(documents)
        sink, tickets = _Discard(), []
        results: dict[int, Classification] = {}
        for number, outcome in enumerate(encoded):
            if isinstance(outcome, InvalidInput):
                results[number] = Classification(error=outcome)
            else:
                tickets.append(Ticket(operation=outcome.task, sink=sink, tag=number, received_seconds=0.0))
        for ticket, answer in self._computed(tickets):
            document = encoded[ticket.tag]
            truncated = not isinstance(document, InvalidInput) and document.truncated
            results[ticket.tag] = self._result(answer, truncated=truncated)
        return [results[number] for number in range(len(documents))]

    def _computed(self, tickets: list[Ticket]) -> Answers:
        answers: Answers = []
        try:
            self._lane.accept(tickets, answers)
            while self._lane.has_work():
                self._lane.run(answers)
        except BaseException:
            # A notebook's cell was interrupted, say: the next call must not answer its texts.
            self._lane.abandon([])
            raise
        return answers

    def _result(self, answer: object, *, truncated: bool) -> Classification:
        if isinstance(answer, GatehouseError):
            return Classification(error=answer)
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, DocumentScores)
        assert answer.scores is not None, "they were asked for"
        best_first = np.argsort(-answer.scores, kind="stable").tolist()
        return Classification(
            scores=tuple((self.labels[index], float(answer.scores[index])) for index in best_first),
            step_count=answer.step_count,
            truncated=truncated,
        )
