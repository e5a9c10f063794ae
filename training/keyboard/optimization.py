"""The training loop: averaged weights, early stopping, checkpoints to resume from."""

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from training.keyboard.batches import assemble, in_order, plan
from training.keyboard.corpus import Encoded
from training.keyboard.course import Progressed, Settings, learning_rate
from training.keyboard.network import KeyboardNetwork, Shape

_NOTED_BATCHES = 500  # between two points of the training curve


@torch.no_grad()
def mean_loss(network: KeyboardNetwork, text: Encoded, start: int) -> float:
    """Mean cross-entropy in nats per target, in float32."""
    total = 0.0
    for batch in in_order(text, 2048, start):
        states = network.states(batch.inputs).flatten(0, 1)[batch.places]
        scores = network.log_probabilities(states)
        total -= float(scores.gather(1, batch.targets.unsqueeze(1)).sum(dtype=torch.float64))
    return total / len(text.ids)


class Run:
    """One training run over `train`, judged on `valid`, with its files in `folder`."""

    def __init__(
        self,
        shape: Shape,
        settings: Settings,
        train: Encoded,
        valid: Encoded,
        start: int,
        folder: Path,
        console: Console,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.train_text, self.valid_text = settings, train, valid
        self.start, self.folder, self.console = start, folder, console
        self.network = KeyboardNetwork(shape)
        self.average = KeyboardNetwork(shape)
        self.average.load_state_dict(self.network.state_dict())
        self.trained: list[Tensor] = [p for p in self.network.parameters() if p.requires_grad]
        pairs = zip(self.average.parameters(), self.network.parameters(), strict=True)
        self.averaged: list[Tensor] = [p for p, source in pairs if source.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay,
            fused=True,
        )  # fmt: skip
        self.progressed = Progressed()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def best_path(self) -> Path:
        return self.folder / "best.pt"

    @property
    def checkpoint_path(self) -> Path:
        return self.folder / "checkpoint.pt"

    def resume(self) -> None:
        """Continue from the last checkpoint.

        Raises `FileNotFoundError` when there is none and `ValueError` when it was made with other settings.
        """
        stored = torch.load(self.checkpoint_path, weights_only=True)
        for name, value in self._course().items():
            if stored["course"].get(name) != value:
                raise ValueError(
                    f"the checkpoint was made with {name} = {stored['course'].get(name)}, not {value}: "
                    "pass the same options, or train anew without --resume"
                )
        self.network.load_state_dict(stored["network"])
        self.average.load_state_dict(stored["average"])
        self.optimizer.load_state_dict(stored["optimizer"])
        torch.set_rng_state(stored["random"])
        self.progressed = Progressed(**stored["progressed"])

    def _course(self) -> dict[str, Any]:
        """Everything that must not change between the parts of a run."""
        return asdict(self.network.shape) | asdict(self.settings) | {"dtype": str(self.settings.dtype)}

    def best(self) -> KeyboardNetwork:
        """The averaged weights of the best validation. Raises `FileNotFoundError` before the first one."""
        network = KeyboardNetwork(self.network.shape)
        network.load_state_dict(torch.load(self.best_path, weights_only=True)["network"])
        return network

    def _save(self, path: Path, content: dict[str, Any]) -> None:
        whole = path.with_suffix(".new")
        torch.save(content, whole)
        whole.replace(path)  # a killed run never leaves half a file behind

    def _checkpoint(self) -> None:
        self._save(
            self.checkpoint_path,
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "random": torch.get_rng_state(),
                "course": self._course(),
                "progressed": asdict(self.progressed),
            },
        )

    def _step(self, chosen: np.ndarray, done: float) -> Tensor:
        batch = assemble(self.train_text, chosen, self.start)
        loss = self.network.training_loss(
            batch.inputs, batch.places, batch.targets,
            input_dropout=self.settings.input_dropout,
            output_dropout=self.settings.output_dropout,
            dtype=self.settings.dtype,
        )  # fmt: skip
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained, self.settings.clip_norm)
        rate = learning_rate(self.settings, self.progressed.step, done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.progressed.step += 1
        decay = min(self.settings.average_decay, self.progressed.step / (self.progressed.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, self.trained, 1.0 - decay)
        return loss.detach() * len(batch.targets)

    def _judge(self, epoch: float) -> None:
        state = self.progressed
        loss = mean_loss(self.average, self.valid_text, self.start)
        if state.note_validation(loss, epoch):
            self._save(self.best_path, {"network": self.average.state_dict()})
        self.console.log(
            f"epoch {epoch:.2f}  minutes {state.seconds / 60:.1f}  training {state.train_losses[-1]:.4f}  "
            f"validation {loss:.4f} (perplexity {math.exp(loss):.2f})  best {math.exp(state.best_loss):.2f}"
        )

    def train(self) -> None:
        """Train until the epochs or the time are over, or validation has stopped falling."""
        state = self.progressed
        with Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TimeRemainingColumn(),
            console=self.console,
        ) as bar:
            while not state.finished:
                batches = self._epoch(bar)
                if state.batch == batches:
                    state.epoch, state.batch = state.epoch + 1, 0
                self._judge(state.epoch + state.batch / batches)
                if state.epochs_without_gain >= self.settings.patience_epochs:
                    self.console.log("validation has stopped falling")
                    state.finished = True
                state.finished = state.finished or state.epoch == self.settings.epochs
                self._checkpoint()

    def _epoch(self, bar: Progress) -> int:
        """Train to the end of the epoch, or of the time; returns how many batches the epoch has."""
        state, limit = self.progressed, self.settings.time_limit_seconds
        began = time.monotonic() - state.seconds
        saved = time.monotonic()
        random = np.random.default_rng((self.settings.seed, state.epoch))
        batches = plan(self.train_text, self.settings.batch_tokens, random)
        task = bar.add_task(
            "", total=len(batches), completed=state.batch, epoch=state.epoch + 1, loss=math.nan
        )
        summed, tokens = 0.0, 0
        while state.batch < len(batches) and not state.finished:
            chosen = batches[state.batch]
            summed += float(self._step(chosen, state.share_done(self.settings, len(batches))))
            tokens += int((self.train_text.starts[chosen + 1] - self.train_text.starts[chosen]).sum())
            state.batch += 1
            state.seconds = time.monotonic() - began
            state.finished = limit is not None and state.seconds >= limit
            bar.update(task, completed=state.batch, loss=summed / tokens)
            if state.batch % _NOTED_BATCHES == 0 or state.batch == len(batches) or state.finished:
                self._note(summed / tokens, state.epoch + state.batch / len(batches))
                summed, tokens = 0.0, 0
            if time.monotonic() - saved > self.settings.checkpoint_seconds:
                self._checkpoint()
                saved = time.monotonic()
        bar.remove_task(task)
        return len(batches)

    def _note(self, loss: float, epoch: float) -> None:
        self.progressed.train_losses.append(loss)
        self.progressed.train_epochs.append(epoch)
        minutes = self.progressed.seconds / 60
        self.console.log(f"epoch {epoch:.2f}  minutes {minutes:.1f}  training {loss:.4f}")
