"""A linear teacher on words and word pairs, whose held-out opinions soften the labels of the training set.

A document's opinion comes from a teacher that has not seen it (out of fold): a teacher would only repeat the
labels of the documents it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from .words import Ids

SHIFT = 1 << 20
ITERATIONS = 50


def ngram_keys(ids: Ids) -> npt.NDArray[np.int64]:
    """Keys of the words and of the neighbouring word pairs of one document, with repeats."""
    words = ids.astype(np.int64)
    return np.concatenate([words, (words[:-1] + 1) * SHIFT + words[1:]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """A sparse matrix (documents, F) by rows: `places` and `values` (entries), `offsets` (documents)."""

    places: torch.Tensor
    values: torch.Tensor
    offsets: torch.Tensor

    def times(self, weight: torch.Tensor) -> torch.Tensor:
        """The product (documents, classes) with `weight` (F, classes)."""
        return functional.embedding_bag(
            self.places, weight, self.offsets, mode="sum", per_sample_weights=self.values
        )

    def transposed(self, columns: int) -> Features:
        """The same matrix the other way round: (F, documents), where F is `columns`."""
        counts = torch.diff(self.offsets, append=torch.tensor([self.places.numel()]))
        documents = torch.repeat_interleave(torch.arange(self.offsets.numel()), counts)
        order = torch.argsort(self.places, stable=True)
        offsets = torch.searchsorted(self.places[order], torch.arange(columns))
        return Features(places=documents[order], values=self.values[order], offsets=offsets)


def features_of(
    sequences: Sequence[Ids], columns: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]
) -> Features:
    """(1 + log count) * weight of each feature in `columns`, each document's row of length one."""
    places, values, offsets = [], [], [0]
    for ids in sequences:
        found, counts = np.unique(ngram_keys(ids), return_counts=True)
        place = np.minimum(np.searchsorted(columns, found), columns.size - 1)
        known = columns[place] == found
        row = (1 + np.log(counts[known])) * weights[place[known]]
        places.append(place[known])
        values.append(row / max(float(np.sqrt((row**2).sum())), 1e-9))
        offsets.append(offsets[-1] + row.size)
    return Features(
        places=torch.from_numpy(np.concatenate(places)),
        values=torch.from_numpy(np.concatenate(values)).float(),
        offsets=torch.tensor(offsets[:-1]),
    )


def fit(
    features: Features, targets: torch.Tensor, *, columns: int, classes: int, penalty: float
) -> torch.Tensor:
    """Weights (columns, classes) of softmax regression with a quadratic penalty, by L-BFGS."""
    # The gradient is a product with the transposed matrix: far quicker than the backward pass of a lookup.
    transposed = features.transposed(columns)
    wanted = functional.one_hot(targets, classes).float()
    weight = torch.zeros(columns, classes)
    optimizer = torch.optim.LBFGS(
        [weight], max_iter=ITERATIONS, history_size=6, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        logarithms = functional.log_softmax(features.times(weight), dim=1)
        errors = (logarithms.exp() - wanted) / targets.numel()
        weight.grad = transposed.times(errors) + penalty * weight
        return functional.nll_loss(logarithms, targets) + 0.5 * penalty * weight.square().sum()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weight


class Teacher:
    """Softmax regression over the word and word-pair features of its own training documents."""

    def __init__(
        self, sequences: Sequence[Ids], targets: torch.Tensor, *, classes: int, penalty: float
    ) -> None:
        keys = np.concatenate([np.unique(ngram_keys(ids)) for ids in sequences])
        columns, frequency = np.unique(keys, return_counts=True)
        kept = frequency >= 2
        self._columns = columns[kept]
        self._weights = np.log((1 + len(sequences)) / (1 + frequency[kept])) + 1
        features = features_of(sequences, self._columns, self._weights)
        self._weight = fit(features, targets, columns=self._columns.size, classes=classes, penalty=penalty)

    def probabilities(self, sequences: Sequence[Ids]) -> torch.Tensor:
        """Class probabilities (documents, classes)."""
        features = features_of(sequences, self._columns, self._weights)
        return torch.softmax(features.times(self._weight), dim=1)


def held_out_probabilities(
    sequences: Sequence[Ids], targets: torch.Tensor, *, classes: int, penalty: float, folds: int, seed: int
) -> torch.Tensor:
    """For each document the probabilities of the teacher trained without its fold: (documents, classes)."""
    order = np.random.default_rng(seed).permutation(len(sequences))
    result = torch.zeros(len(sequences), classes)
    for fold in range(folds):
        held = order[fold::folds]
        rest = np.setdiff1d(order, held)
        teacher = Teacher(
            [sequences[i] for i in rest], targets[torch.from_numpy(rest)], classes=classes, penalty=penalty
        )
        result[torch.from_numpy(held)] = teacher.probabilities([sequences[i] for i in held])
    return result
