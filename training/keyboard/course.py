"""The course of a training run: what decides it, how far it has come, its learning rate."""

import math
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides the course of a run."""

    seed: int
    epochs: int
    time_limit_seconds: float | None
    batch_tokens: int
    learning_rate: float
    weight_decay: float
    input_dropout: float
    output_dropout: float
    average_decay: float
    clip_norm: float
    patience_epochs: int
    dtype: torch.dtype
    warm_up_steps: int = 500
    checkpoint_seconds: float = 240.0


@dataclass(slots=True, kw_only=True)
class Progressed:
    """How far a run has come; part of its checkpoint. `*_epochs` are the places of `*_losses` (nats)."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    epochs_without_gain: int = 0
    finished: bool = False
    best_loss: float = math.inf
    best_epoch: float = 0.0
    train_losses: list[float] = field(default_factory=list)
    train_epochs: list[float] = field(default_factory=list)
    valid_losses: list[float] = field(default_factory=list)
    valid_epochs: list[float] = field(default_factory=list)

    def share_done(self, settings: Settings, batches: int) -> float:
        """How much of the run lies behind, in 0..1 and beyond, by epochs of `batches` or by time."""
        done = (self.epoch + self.batch / batches) / settings.epochs
        if settings.time_limit_seconds is None:
            return done
        return max(done, self.seconds / settings.time_limit_seconds)

    def note_validation(self, loss: float, epoch: float) -> bool:
        """Keep a validation loss; true when it is the best so far."""
        self.valid_losses.append(loss)
        self.valid_epochs.append(epoch)
        if loss >= self.best_loss:
            self.epochs_without_gain += 1
            return False
        self.best_loss, self.best_epoch, self.epochs_without_gain = loss, epoch, 0
        return True


def learning_rate(settings: Settings, step: int, done: float) -> float:
    """Linear warm-up, then a cosine to a hundredth of the peak; `done` is the share of the run behind us."""
    warm = min(1.0, (step + 1) / settings.warm_up_steps)
    fall = 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
    return settings.learning_rate * warm * fall
