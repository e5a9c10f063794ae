"""Whole documents: what the offline lane takes and answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentTask:
    """One document, already encoded and within the limits.

    `inputs` is an int64 array (T,) of token ids or a float32 array (T, N) of features, T at least 1.
    """

    model_key: str
    inputs: npt.NDArray[np.int64] | npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentScores:
    """A document's scores by output index, (O,) float32: probabilities, or values of a regression."""

    scores: npt.NDArray[np.float32]
    step_count: int
    queue_seconds: float
    compute_seconds: float
