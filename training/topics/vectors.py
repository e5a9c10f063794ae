"""First word vectors from the training text alone: positive pointwise mutual information, factorised.

Levy and Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", 2014; context distribution
smoothed by the power 0.75 and singular values by the power 0.5 as in Levy, Goldberg and Dagan, 2015.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from .words import UNKNOWN_ID, Ids

CONTEXT_POWER = 0.75
VALUE_POWER = 0.5


def pair_counts(
    sequences: Sequence[Ids], *, vocabulary_size: int, window: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Flat keys (word * V + context) and weights 1/distance of pairs up to `window` words apart, one way."""
    separator = np.full(window, -1, dtype=np.int32)
    stream = np.concatenate([part for ids in sequences for part in (ids, separator)]).astype(np.int64)
    stream[stream == UNKNOWN_ID] = -1  # the unknown word stands for many: its company means nothing
    keys: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    weights: npt.NDArray[np.float64] = np.zeros(0, dtype=np.float64)
    for distance in range(1, window + 1):
        left, right = stream[:-distance], stream[distance:]
        valid = (left >= 0) & (right >= 0)
        found, counts = np.unique(left[valid] * vocabulary_size + right[valid], return_counts=True)
        merged, inverse = np.unique(np.concatenate([keys, found]), return_inverse=True)
        parts = np.concatenate([weights, counts / distance])
        weights = np.bincount(inverse, weights=parts, minlength=merged.size).astype(np.float64)
        keys = merged
    return keys, weights


def word_vectors(
    sequences: Sequence[Ids], *, vocabulary_size: int, size: int, window: int = 8, seed: int = 0
) -> torch.Tensor:
    """Vectors (V, size), mean square 1 over all known words; the unknown word is the zero vector."""
    keys, weights = pair_counts(sequences, vocabulary_size=vocabulary_size, window=window)
    word, context = np.divmod(keys, vocabulary_size)
    rows = np.concatenate([word, context])
    columns = np.concatenate([context, word])
    values = np.concatenate([weights, weights])
    matrix = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([rows, columns])),
        torch.from_numpy(values),
        (vocabulary_size, vocabulary_size),
        check_invariants=True,
    ).coalesce()
    sums = np.bincount(rows, weights=values, minlength=vocabulary_size)
    smoothed = sums**CONTEXT_POWER
    smoothed /= smoothed.sum()
    index = matrix.indices().numpy()
    information = np.log(matrix.values().numpy() / (sums[index[0]] * smoothed[index[1]]))
    keep = information > 0
    positive = torch.sparse_coo_tensor(
        torch.from_numpy(index[:, keep]),
        torch.from_numpy(information[keep].astype(np.float32)),
        (vocabulary_size, vocabulary_size),
        check_invariants=True,
    ).coalesce()
    torch.manual_seed(seed)
    rank = min(size + 16, vocabulary_size)
    left, singular, _ = torch.svd_lowrank(positive, q=rank, niter=4)
    vectors = torch.zeros(vocabulary_size, size)
    width = min(size, rank)
    vectors[:, :width] = left[:, :width] * singular[:width] ** VALUE_POWER
    vectors[UNKNOWN_ID] = 0.0
    return vectors / vectors.square().mean().sqrt().clamp_min(1e-12)
