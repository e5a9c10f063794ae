"""How a batch of whole documents is computed: the port that the offline lane uses, and it in torch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatehouse_server.engine.documents import (
    SCORES,
    DocumentScores,
    DocumentSteps,
    DocumentWants,
    Floats,
    Ids,
)
from gatehouse_server.engine.looking import LayerActivations, Looker
from gatehouse_server.engine.packed_documents import PackedDocuments
from gatehouse_server.engine.step_outputs import StepOutputs, outputs_of, tile_rows
from gatehouse_server.errors import InvalidInput
from gatehouse_server.network.network import Network

DocumentInputs = Ids | Floats
WantsT_contra = TypeVar("WantsT_contra", contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchScores:
    """What was wanted of each document, in their order: `scores` (B, O), `hidden` (B, R times the poolings),
    `log_likelihoods` (B,) float64, `steps` and `activations` one each. `computed_steps` counts padding too.
    """

    scores: Floats | None = None
    hidden: Floats | None = None
    log_likelihoods: npt.NDArray[np.float64] | None = None
    steps: Sequence[DocumentSteps] | None = None
    activations: Sequence[tuple[LayerActivations, ...]] | None = None
    computed_steps: int

    def answer(
        self, row: int, *, step_count: int, queue_seconds: float, compute_seconds: float
    ) -> DocumentScores | InvalidInput:
        """See `BatchAnswers`."""
        scores = DocumentScores(
            scores=None if self.scores is None else self.scores[row],
            hidden=None if self.hidden is None else self.hidden[row],
            log_likelihood=None if self.log_likelihoods is None else float(self.log_likelihoods[row]),
            steps=None if self.steps is None else self.steps[row],
            activations=None if self.activations is None else self.activations[row],
            step_count=step_count,
            queue_seconds=queue_seconds,
            compute_seconds=compute_seconds,
        )
        if scores.is_finite():
            return scores
        refusal = "the scores are not finite: the document's values are too large for the model"
        return InvalidInput(refusal, reason="STATE_NOT_FINITE")


class BatchAnswers(Protocol):
    """What came of a batch. `computed_steps` counts padding too."""

    @property
    def computed_steps(self) -> int: ...

    def answer(self, row: int, *, step_count: int, queue_seconds: float, compute_seconds: float) -> object:
        """The answer to the document in this row, or the failure that it is answered with."""


class OfflineBackend(Protocol[WantsT_contra]):
    """Computes one batch at a time for one model."""

    def score(
        self, documents: Sequence[DocumentInputs], wants: WantsT_contra
    ) -> Generator[None, None, BatchAnswers]:
        """What is wanted of documents, longest first, each (T,) token ids or (T, N) features.

        Yields about every millisecond, so that the caller may do something else on the device before it goes
        on, or drop the batch.
        """


class TorchOfflineBackend:
    """Packed execution on a network: no step is computed for padding, no result depends on the neighbours.

    Documents are summarized by the model's poolings; without any, by the output at the last step.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._head = network.head
        self._device = network.device
        self._reader = network.reader()
        self._tile_rows = tile_rows(network.head, network.device)

    @torch.inference_mode()
    def score(
        self, documents: Sequence[DocumentInputs], wants: DocumentWants = SCORES
    ) -> Generator[None, None, BatchScores]:
        """See `OfflineBackend`. Raises ValueError for documents without steps or not longest first, and when a network
        without output layer is asked for what such a layer makes.
        """
        if wants.needs_head and self._head is None:
            raise ValueError("scores of documents need a network with a head, and this one has none")
        packed = PackedDocuments(documents, self._network.spec.input, start_token=wants.start_token)
        inputs = (yield from packed.inputs(pinned=self._device.type == "cuda")).to(
            self._device, non_blocking=True
        )
        steps = None
        if wants.reads_each_step:
            summary, steps = yield from self._read_steps(documents, packed, inputs, wants)
        else:
            summary = yield from self._reader.summarize(inputs, packed.batch_sizes)
        scores = hidden = None
        if not wants.every_step:
            hidden = summary.cpu().numpy() if wants.hidden else None
            if wants.outputs:
                scores = yield from self._outputs(summary, wants)
        return BatchScores(
            scores=scores,
            hidden=hidden,
            log_likelihoods=None if steps is None else _log_likelihoods(steps),
            steps=steps if wants.every_step else None,
            activations=(yield from self._look(documents, wants)) if wants.activations else None,
            computed_steps=packed.rows,
        )

    def _read_steps(
        self,
        documents: Sequence[DocumentInputs],
        packed: PackedDocuments,
        inputs: Tensor,
        wants: DocumentWants,
    ) -> Generator[None, None, tuple[Tensor, list[DocumentSteps]]]:
        """The documents' ends (B, R), and what is wanted of their steps."""
        targets = None
        if wants.log_likelihood:
            targets = (yield from packed.following()).to(self._device)
        outputs = StepOutputs(
            self._head,
            wants,
            rows=packed.rows,
            width=self._network.spec.recurrent.output_size,
            targets=targets,
        )
        ends = yield from self._reader.hand_out(
            inputs, packed.batch_sizes, outputs.take, rows_at_once=self._tile_rows
        )
        steps = []
        for number, document in enumerate(documents):
            first = None
            if wants.log_likelihood and wants.start_token is None:
                first = self._first_log_probabilities[document[:1]]
            steps.append(outputs.of(packed.places(number), packed.places_before(number), first))
            yield
        return ends, steps

    def _outputs(self, summary: Tensor, wants: DocumentWants) -> Generator[None, None, Floats]:
        """summary (B, R) through the output layer, (B, O)."""
        assert self._head is not None, "looked at before"
        tiles: list[Floats] = []
        for start in range(0, len(summary), self._tile_rows):
            logits = self._head.logits(summary[start : start + self._tile_rows])
            tiles.append(outputs_of(self._head, logits, logarithmic=wants.logarithmic).cpu().numpy())
            yield
        return np.concatenate(tiles)

    def _look(
        self, documents: Sequence[DocumentInputs], wants: DocumentWants
    ) -> Generator[None, None, list[tuple[LayerActivations, ...]]]:
        """What goes on inside, without the step of the start token."""
        looks = []
        for document in documents:
            self._looker.check_size(
                len(document), limit_bytes=wants.most_activation_bytes, field="options.activations"
            )
            if wants.start_token is None:
                looks.append((yield from self._looker.look(document)))
                continue
            with_start: Ids = np.concatenate([np.array([wants.start_token]), document])
            seen = yield from self._looker.look(with_start)
            looks.append(
                tuple(
                    replace(layer, values={name: values[1:] for name, values in layer.values.items()})
                    for layer in seen
                )
            )
        return looks

    @cached_property
    def _looker(self) -> Looker:
        return Looker(self._network)

    @cached_property
    def _first_log_probabilities(self) -> Floats:
        """Of each token (V,) as the first of a sequence, where none comes before it."""
        assert self._head is not None, "looked at before"
        hidden = self._network.initial_state(1)[self._network.layout.output_part]
        outputs = outputs_of(self._head, self._head.logits(hidden), logarithmic=True)
        first: Floats = outputs[0].cpu().numpy()
        return first


def _log_likelihoods(steps: Sequence[DocumentSteps]) -> npt.NDArray[np.float64] | None:
    parts = [each.log_probabilities for each in steps if each.log_probabilities is not None]
    return np.array([np.sum(part, dtype=np.float64) for part in parts]) if parts else None
