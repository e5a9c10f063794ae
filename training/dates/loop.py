"""Training: new spellings for every step, the rate falling to nothing at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional

from .batches import Batch, Batcher
from .days import Example, examples
from .network import DateNetwork

Weights = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is asked to do. `report_steps` is how often it measures itself."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    report_steps: int
    seed: int


@dataclass(slots=True, kw_only=True)
class Progress:
    """How a run went; losses in nats per character, at each report. `processor_seconds`: what it took of one core,
    whatever else the machine was doing.
    """

    steps: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)
    valid_exact: list[float] = field(default_factory=list)
    processor_seconds: float = 0.0


def train(
    network: DateNetwork,
    plan: Plan,
    batcher: Batcher,
    days: Sequence[date],
    validation: Sequence[Example],
    report: Callable[[str], None],
) -> Progress:
    """Trains `network` in place on spellings of `days`; `validation` is only looked at."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, plan))
    measured = batcher.batch(validation)
    progress, total = Progress(), 0.0
    began = time.process_time()
    for step in range(1, plan.steps + 1):
        network.train()
        # A number for each step: a batch is the same whatever was drawn before it.
        made = examples(days, plan.batch_size, Random(plan.seed * 1_000_003 + step))
        loss = _loss(network, batcher.batch(made))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % plan.report_steps == 0 or step == plan.steps:
            count = plan.report_steps if step % plan.report_steps == 0 else step % plan.report_steps
            progress.processor_seconds = time.process_time() - began
            progress.steps.append(float(step))
            progress.train_loss.append(total / count)
            loss_there, exact = measure(network, measured)
            progress.valid_loss.append(loss_there)
            progress.valid_exact.append(exact)
            total = 0.0
            report(
                f"step {step}: loss {progress.train_loss[-1]:.4f}, validation {loss_there:.4f}, exact {exact:.4f}, "
                f"{progress.processor_seconds:.0f} s"
            )
    return progress


def rate(step: int, plan: Plan) -> float:
    """The part of the learning rate that a step gets: up along a line, down along a cosine."""
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    done = (step - plan.warmup_steps) / max(1, plan.steps - plan.warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


@torch.no_grad()
def measure(network: DateNetwork, batch: Batch) -> tuple[float, float]:
    """Loss per character, and the part of the days that are right throughout, each character given those before.

    A day is right throughout exactly if greedy decoding finds it: there it is given what it found itself.
    """
    network.eval()
    logits = network(batch.ids, batch.lengths, batch.given)
    exact = (logits.argmax(dim=2) == batch.wanted).all(dim=1).double().mean()
    return _cross_entropy(logits, batch.wanted).item(), exact.item()


def _loss(network: DateNetwork, batch: Batch) -> Tensor:
    return _cross_entropy(network(batch.ids, batch.lengths, batch.given), batch.wanted)


def _cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
