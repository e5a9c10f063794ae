"""The training loop: cosine schedule, averaged weights, the best of them kept, resumable after any epoch."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm  # type: ignore[import-untyped]

from .batches import Batch, Examples, batches, vary
from .measures import Figures, figures, logits
from .network import Shape, TopicNetwork
from .plan import Plan, Progress
from .words import Ids

Weights = dict[str, torch.Tensor]


def half_precision(weights: Weights) -> Weights:
    """The weights as they are stored and read back: rounded to float16, computed in float32."""
    return {name: value.half().float() for name, value in weights.items()}


class Training:
    """One run. `network` has first weights already; `checkpoint` is the file it can be resumed from."""

    def __init__(
        self,
        network: TopicNetwork,
        plan: Plan,
        examples: Examples,
        valid: tuple[Sequence[Ids], torch.Tensor],
        checkpoint: Path,
        *,
        report: Callable[[str], None] = print,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.network = network
        self.plan = plan
        self.progress = Progress()
        self.best: Weights = {name: value.clone() for name, value in network.state_dict().items()}
        self._examples = examples
        self._valid_sequences, self._valid_labels = valid
        self._checkpoint = checkpoint
        self._report = report
        self._clock = clock
        self._average: Weights = {name: value.clone() for name, value in network.state_dict().items()}
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay, betas=(0.9, 0.98)
        )
        self._epoch_steps = math.ceil(len(examples.abstracts) / plan.batch_size)
        self._started = clock()

    def run(self) -> Figures:
        """Train until the schedule, the patience or the time ends; figures of the best weights as stored."""
        self._started = self._clock() - self.progress.elapsed_seconds
        while not self._finished():
            train_loss = self._epoch()
            self._close_epoch(train_loss)
        return self.evaluate(self.best)

    def evaluate(self, weights: Weights) -> Figures:
        """Figures on the validation documents of `weights` rounded to float16."""
        probe = TopicNetwork(self.network.shape)
        probe.load_state_dict(half_precision(weights))
        return figures(logits(probe, self._valid_sequences), self._valid_labels)

    def save(self) -> None:
        """Write the checkpoint: whole or not at all."""
        state = {
            "shape": asdict(self.network.shape),
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average,
            "best": self.best,
            "progress": asdict(self.progress),
        }
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self._checkpoint)

    def resume(self) -> None:
        """Go on from the checkpoint. Raises ValueError where it belongs to a network of another shape."""
        state: dict[str, Any] = torch.load(self._checkpoint, weights_only=True)
        shape = Shape(**state["shape"])
        if shape != self.network.shape:
            raise ValueError(f"{self._checkpoint}: expected {self.network.shape}, got {shape}")
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._average = state["average"]
        self.best = state["best"]
        self.progress = Progress(**state["progress"])

    def _elapsed(self) -> float:
        return self._clock() - self._started

    def _out_of_time(self) -> bool:
        limit = self.plan.time_limit_seconds
        return limit is not None and self._elapsed() >= limit

    def _finished(self) -> bool:
        waited = self.progress.epoch - self.progress.best_epoch
        done = self.progress.epoch >= self.plan.epochs or waited >= self.plan.patience_epochs
        return done or self._out_of_time()

    def _rate(self) -> float:
        """Linear warm-up, then a cosine to zero, hastened where time will end before the last epoch."""
        step = self.progress.step
        done = step / (self.plan.epochs * self._epoch_steps)
        if self.plan.time_limit_seconds is not None:
            done = max(done, self._elapsed() / self.plan.time_limit_seconds)
        warm = min(1.0, (step + 1) / max(self.plan.warm_up_steps, 1))
        return self.plan.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))

    def _epoch(self) -> float:
        """One pass over the documents (cut short where time runs out): the mean loss, in nats."""
        # Seeded by the epoch, so that a resumed run draws what an unbroken one would have drawn.
        random = np.random.default_rng((self.plan.seed, self.progress.epoch))
        torch.manual_seed(self.plan.seed * 1000 + self.progress.epoch)
        examples = self._examples
        shown = [
            vary(title, abstract, self.plan.variation, random)
            for title, abstract in zip(examples.titles, examples.abstracts, strict=True)
        ]
        losses: list[float] = []
        bar = tqdm(
            batches(shown, size=self.plan.batch_size, random=random),
            total=self._epoch_steps,
            desc=f"epoch {self.progress.epoch + 1}",
            mininterval=20,
        )
        for batch in bar:
            losses.append(self._step(batch))
            if self._out_of_time():
                break
        return float(np.mean(losses))

    def _step(self, batch: Batch) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        self.network.train()
        loss, shown_loss = self._loss(batch)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimizer.step()
        self.progress.step += 1
        # The average starts as a plain mean and grows into an exponential one, so that early epochs show too.
        decay = min(self.plan.average_decay, self.progress.step / (self.progress.step + 10))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self._average[name].lerp_(value, 1 - decay)
        return shown_loss

    def _loss(self, batch: Batch) -> tuple[torch.Tensor, float]:
        """The loss to descend, and the plain class loss, which compares with that of validation."""
        examples, plan = self._examples, self.plan
        scores, category_scores = self.network(batch.ids, batch.lengths)
        hard = functional.cross_entropy(
            scores, examples.labels[batch.places], label_smoothing=plan.label_smoothing
        )
        soft = functional.cross_entropy(scores, examples.soft[batch.places])
        category = functional.cross_entropy(category_scores, examples.categories[batch.places])
        plain = functional.cross_entropy(scores.detach(), examples.labels[batch.places])
        loss = (1 - plan.teacher_share) * hard + plan.teacher_share * soft + plan.category_share * category
        return loss, float(plain)

    def _close_epoch(self, train_loss: float) -> None:
        progress = self.progress
        result = self.evaluate(self._average)
        progress.epoch += 1
        progress.elapsed_seconds = self._elapsed()
        progress.train_loss.append(train_loss)
        progress.valid_loss.append(result.loss)
        progress.valid_accuracy.append(result.accuracy)
        better = (result.accuracy, -result.loss) > (progress.best_accuracy, -progress.best_loss)
        if better:
            progress.best_epoch = progress.epoch
            progress.best_accuracy, progress.best_loss = result.accuracy, result.loss
            self.best = {name: value.clone() for name, value in self._average.items()}
        self.save()
        self._report(
            f"epoch {progress.epoch}: training loss {train_loss:.4f}, validation loss {result.loss:.4f}, "
            f"accuracy {result.accuracy:.4f}, macro F1 {result.macro_f1:.4f}, "
            f"{progress.elapsed_seconds:.0f} s{', best so far' if better else ''}"
        )
