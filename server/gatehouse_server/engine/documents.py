"""Whole documents: what the offline lane takes and answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.looking import LayerActivations
from gatehouse_server.engine.transduction import TransductionWants

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentWants:
    """What is to be answered of documents. Only documents that want the same are computed together.

    `outputs` are those of the output layer: probabilities, values of a regression, or with `logarithmic` natural
    log-probabilities; `best` so many of the largest, with `every_step` alone. `hidden` is what the recurrent layers
    hand on. All of them are of the whole document, as the model pools it, or with `every_step` of each step.

    `log_likelihood` is that of the tokens under a language model, each given those before it; `start_token` is
    consumed before the first of them, and is no step of the document. `activations` are what goes on inside, at most
    `most_activation_bytes` of them.
    """

    outputs: bool = True
    best: int = 0
    logarithmic: bool = False
    hidden: bool = False
    log_likelihood: bool = False
    every_step: bool = False
    activations: bool = False
    most_activation_bytes: int = 8 * 2**20
    start_token: int | None = None

    @property
    def reads_each_step(self) -> bool:
        """Whether the outputs of each step are looked at."""
        return self.every_step or self.log_likelihood

    @property
    def needs_head(self) -> bool:
        """Whether the output layer is asked for anything."""
        return self.outputs or self.best > 0 or self.log_likelihood


Wants = DocumentWants | TransductionWants

SCORES = DocumentWants()
"""The whole output, of the whole document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentTask:
    """One document, already encoded and within the limits.

    `inputs` is an int64 array (T,) of token ids or a float32 array (T, N) of features, T at least 1. `model_key` is
    that of the model's content, so that documents stay on the model that they were read for.
    """

    model_key: str
    inputs: Ids | Floats
    wants: Wants = field(default=SCORES)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSteps:
    """What was wanted of each of T steps: the ids and values of the best (T, k), best first; the whole output (T, O);
    what the recurrent layers hand on (T, R); the log-probability of each token (T,). `is_finite` tells of all of it.
    """

    best_ids: Ids | None = None
    best_values: Floats | None = None
    outputs: Floats | None = None
    hidden: Floats | None = None
    log_probabilities: Floats | None = None
    is_finite: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentScores:
    """What was wanted of a document: the whole output by index (O,), what the recurrent layers hand on (R times the
    poolings,), the log-likelihood of all tokens; `steps` with `every_step`.
    """

    scores: Floats | None = None
    hidden: Floats | None = None
    log_likelihood: float | None = None
    steps: DocumentSteps | None = None
    activations: tuple[LayerActivations, ...] | None = None
    step_count: int
    queue_seconds: float
    compute_seconds: float

    def is_finite(self) -> bool:
        """Whether everything is."""
        parts = (self.scores, self.hidden, self.log_likelihood)
        whole = all(bool(np.isfinite(part).all()) for part in parts if part is not None)
        return whole and (self.steps is None or self.steps.is_finite)
