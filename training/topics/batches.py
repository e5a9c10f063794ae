"""Batches of documents of like length, and the variation of documents from epoch to epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .words import UNKNOWN_ID, Ids

POOL_BATCHES = 40
"""Documents are sorted by length within this many batches: little padding, yet the order stays random."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """A training set: N documents. `soft` (N, classes) holds the teacher's held-out opinion."""

    titles: Sequence[Ids]
    abstracts: Sequence[Ids]
    labels: torch.Tensor
    categories: torch.Tensor
    soft: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """How a document changes each time it is shown. All but `longest_steps` are probabilities."""

    title_before: float
    title_alone: float
    crop: float
    unknown: float
    drop: float
    longest_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """ids (B, T) padded at the end, lengths (B), and the places (B) of its documents in the set."""

    ids: torch.Tensor
    lengths: torch.Tensor
    places: torch.Tensor


def vary(title: Ids, abstract: Ids, variation: Variation, random: np.random.Generator) -> Ids:
    """One version of a document, of at least one word where the abstract has any."""
    draw = random.random()
    if draw < variation.title_before:
        ids = np.concatenate([title, abstract])
    elif draw < variation.title_before + variation.title_alone and title.size:
        ids = title
    else:
        ids = abstract
        if random.random() < variation.crop:
            ids = window(ids, int(ids.size * random.uniform(0.3, 1.0)), random)
    ids = window(ids, variation.longest_steps, random)
    kept = ids[random.random(ids.size) >= variation.drop]
    if kept.size == 0:
        return ids
    return np.where(random.random(kept.size) < variation.unknown, UNKNOWN_ID, kept)


def window(ids: Ids, steps: int, random: np.random.Generator) -> Ids:
    """A random run of at most `steps` words (never none)."""
    steps = max(steps, 1)
    if ids.size <= steps:
        return ids
    start = int(random.integers(0, ids.size - steps + 1))
    return ids[start : start + steps]


def batches(sequences: Sequence[Ids], *, size: int, random: np.random.Generator | None) -> Iterator[Batch]:
    """Batches of like length: whole and from the shortest to the longest, or for training in random order.

    In training the documents of a batch are cut to its shortest, by a few words as a rule: the backward pass
    over steps of one width takes a fraction of the time that it takes over ragged ones.
    """
    lengths = np.array([ids.size for ids in sequences])
    if random is None:
        order = np.argsort(lengths, kind="stable")
    else:
        shuffled = random.permutation(len(sequences))
        pools = [
            shuffled[at : at + size * POOL_BATCHES] for at in range(0, len(shuffled), size * POOL_BATCHES)
        ]
        order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in pools])
    groups = [order[at : at + size] for at in range(0, len(order), size)]
    turns = range(len(groups)) if random is None else random.permutation(len(groups))
    for turn in turns:
        group = groups[turn]
        steps = lengths[group] if random is None else np.full(len(group), lengths[group].min())
        ids = np.zeros((len(group), int(steps.max())), dtype=np.int64)
        for row, place in enumerate(group):
            ids[row, : steps[row]] = sequences[place][: steps[row]]
        yield Batch(
            ids=torch.from_numpy(ids),
            lengths=torch.from_numpy(steps),
            places=torch.from_numpy(group),
        )
