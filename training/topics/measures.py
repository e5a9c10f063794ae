"""Figures of a classifier on labelled documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from .batches import batches
from .network import TopicNetwork
from .words import Ids

EVALUATION_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """`confusion` (classes, classes) counts true class by row, answer by column; `loss` is in nats."""

    loss: float
    accuracy: float
    confusion: torch.Tensor

    @property
    def recall(self) -> torch.Tensor:
        """Per class: the share of its documents that were found."""
        return self.confusion.diagonal() / self.confusion.sum(dim=1).clamp_min(1)

    @property
    def precision(self) -> torch.Tensor:
        """Per class: the share of its answers that were right."""
        return self.confusion.diagonal() / self.confusion.sum(dim=0).clamp_min(1)

    @property
    def f1(self) -> torch.Tensor:
        """Per class: the harmonic mean of precision and recall."""
        answered = self.confusion.sum(dim=0) + self.confusion.sum(dim=1)
        return 2 * self.confusion.diagonal() / answered.clamp_min(1)

    @property
    def macro_f1(self) -> float:
        """The plain mean of the classes' F1."""
        return float(self.f1.mean())


def logits(network: TopicNetwork, sequences: Sequence[Ids]) -> torch.Tensor:
    """Class logits (documents, classes) in the order of `sequences`, without dropout."""
    network.eval()
    result = torch.zeros(len(sequences), network.shape.classes)
    with torch.no_grad():
        for batch in batches(sequences, size=EVALUATION_BATCH, random=None):
            result[batch.places] = network(batch.ids, batch.lengths)[0]
    return result


def figures(scores: torch.Tensor, labels: torch.Tensor) -> Figures:
    """Figures of logits (documents, classes) against labels (documents)."""
    classes = scores.shape[1]
    answers = scores.argmax(dim=1)
    confusion = torch.bincount(labels * classes + answers, minlength=classes * classes)
    return Figures(
        loss=float(functional.cross_entropy(scores, labels)),
        accuracy=float((answers == labels).float().mean()),
        confusion=confusion.reshape(classes, classes),
    )
