"""Batches of sentences of about equal length."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.keyboard.corpus import Encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Inputs (T, B), padded behind the sentences' ends; the flat places (M,) that count; targets (M,)."""

    inputs: Tensor
    places: Tensor
    targets: Tensor


def assemble(text: Encoded, chosen: np.ndarray, start: int) -> Batch:
    """Lay `chosen` sentences side by side: each is fed `start` and its words, and ends on its end token."""
    lengths = text.starts[chosen + 1] - text.starts[chosen]
    steps = int(lengths.max())
    offsets = np.arange(steps)[:, None]
    real = offsets < lengths[None, :]
    positions = np.where(real, text.starts[chosen][None, :] + offsets, 0)
    targets = text.ids[positions].astype(np.int64)
    inputs = np.empty_like(targets)
    inputs[0] = start
    inputs[1:] = targets[:-1]
    places = np.flatnonzero(real)
    return Batch(
        inputs=torch.from_numpy(inputs),
        places=torch.from_numpy(places),
        targets=torch.from_numpy(targets.ravel()[places]),
    )


def plan(text: Encoded, tokens: int, random: np.random.Generator | None) -> list[np.ndarray]:
    """Sentence indices of every batch of at most `tokens` padded places (or one sentence).

    Sentences are sorted by length, so that hardly any place is padded. With `random`, equal lengths mix anew
    and the batches come in random order; without, the plan is always the same.
    """
    lengths = np.diff(text.starts)
    ties = np.arange(len(lengths)) if random is None else random.random(len(lengths))
    order = np.lexsort((ties, lengths))
    batches = []
    first = 0
    while first < len(order):
        last = first + 1
        while last < len(order) and (last - first + 1) * lengths[order[last]] <= tokens:
            last += 1
        batches.append(order[first:last])
        first = last
    if random is not None:
        batches = [batches[i] for i in random.permutation(len(batches))]
    return batches


def in_order(text: Encoded, tokens: int, start: int) -> Iterator[Batch]:
    """Every sentence once, in a fixed order, for evaluation."""
    for chosen in plan(text, tokens, None):
        yield assemble(text, chosen, start)
