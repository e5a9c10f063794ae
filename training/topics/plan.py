"""What a run is asked to do, and what it has done so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .batches import Variation


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to train. `time_limit_seconds` counts training over all resumed parts; None means no limit."""

    seed: int
    epochs: int
    patience_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warm_up_steps: int
    average_decay: float
    label_smoothing: float
    teacher_share: float
    category_share: float
    variation: Variation
    time_limit_seconds: float | None = None


@dataclass(slots=True, kw_only=True)
class Progress:
    """What has happened so far; one entry of each list per epoch."""

    epoch: int = 0
    step: int = 0
    elapsed_seconds: float = 0.0
    best_epoch: int = 0
    best_accuracy: float = -math.inf
    best_loss: float = math.inf
    train_loss: list[float] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)
    valid_accuracy: list[float] = field(default_factory=list)
