"""How every network is trained: Adam, a linear warm-up, a cosine to zero, gradients clipped."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from training.cells.network import CellNetwork

Loss = Callable[[CellNetwork], Tensor]
"""The mean cross-entropy in nats of one batch."""
Epoch = Callable[[np.random.Generator], Sequence[Loss]]
"""All batches once, in random order."""

WARM_UP_SHARE = 0.05
CLIP_NORM = 1.0


@dataclass(kw_only=True)
class Course:
    """One network on its way. `seconds` are processor seconds of each epoch, `losses` its mean losses in nats."""

    network: CellNetwork
    epoch: Epoch
    epochs: int
    learning_rate: float
    seed: int
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate, fused=True)
        self._step = 0

    def run_epoch(self) -> None:
        """The next epoch. Which batches it has, and their order, depends on the seed and its number alone."""
        batches = self.epoch(np.random.default_rng((self.seed, len(self.losses))))
        began, total = time.process_time(), 0.0
        for loss_of in batches:
            self._set_rate(self._step / (self.epochs * len(batches)))
            loss = loss_of(self.network)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
            self._optimizer.step()
            self._step += 1
            total += loss.item()
        self.seconds.append(time.process_time() - began)
        self.losses.append(total / len(batches))

    def _set_rate(self, done: float) -> None:
        warm = min(1.0, (done + 1e-3) / WARM_UP_SHARE)
        rate = self.learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
