"""Perplexity and top-k of any next-word model over the same targets by the same rules.

Every target counts, the end of a sentence and unknown words too; neither of these two is ever proposed.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from training.keyboard.batches import in_order
from training.keyboard.corpus import Encoded
from training.keyboard.network import KeyboardNetwork
from training.keyboard.trigram import Trigram, contexts

Scores = npt.NDArray[np.float32]
Targets = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """`perplexity` = exp of the mean cross-entropy; `top_1`, `top_3` shares of targets in 0..1."""

    perplexity: float
    top_1: float
    top_3: float
    targets: int


def measure(parts: Iterable[tuple[Scores, Targets]], never_proposed: Collection[int]) -> Figures:
    """Figures over (log-probabilities (M, V) in nats, targets (M,)) parts.

    Equal scores rank by id. Raises `ValueError` when there is no target.
    """
    banned = np.array(sorted(never_proposed), dtype=np.int64)
    nats, first, third, count = 0.0, 0, 0, 0
    for scores, targets in parts:
        wanted = scores[np.arange(len(targets)), targets]
        nats -= float(wanted.sum(dtype=np.float64))
        open_scores = scores.copy()
        open_scores[:, banned] = -np.inf
        better = (open_scores > wanted[:, None]).sum(axis=1)
        for row in np.flatnonzero(better < 3):
            better[row] += int((open_scores[row, : targets[row]] == wanted[row]).sum())
        proposable = ~np.isin(targets, banned)
        first += int((proposable & (better < 1)).sum())
        third += int((proposable & (better < 3)).sum())
        count += len(targets)
    if count == 0:
        raise ValueError("there is no target to measure on")
    return Figures(perplexity=math.exp(nats / count), top_1=first / count, top_3=third / count, targets=count)


@torch.no_grad()
def network_scores(network: KeyboardNetwork, text: Encoded, start: int) -> Iterator[tuple[Scores, Targets]]:
    """Parts for `measure` from the network, sentence by sentence from the zero state."""
    for batch in in_order(text, 512, start):
        states = network.states(batch.inputs).flatten(0, 1)[batch.places]
        yield network.log_probabilities(states).numpy(), batch.targets.numpy()


def trigram_scores(trigram: Trigram, text: Encoded, start: int) -> Iterator[tuple[Scores, Targets]]:
    """Parts for `measure` from the trigram, one for each word before the target."""
    size = trigram.vocabulary_size
    keys = contexts(text, size, start)
    order = np.lexsort((keys // size, keys % size))
    cuts = np.flatnonzero(np.diff(keys[order] % size)) + 1
    for same_word in np.split(order, cuts):
        after_one = trigram.after_one(int(keys[same_word[0]] % size))
        for places in np.split(same_word, np.arange(512, len(same_word), 512)):
            distinct, which = np.unique(keys[places], return_inverse=True)
            rows = np.stack([trigram.distribution(int(key), after_one) for key in distinct])
            yield np.log(rows).astype(np.float32)[which], text.ids[places].astype(np.int64)
