"""Generations at a desk: opened, stepped and closed by hand, as the transport does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gatehouse_server.sessions.continuations import (
    Continuation,
    GeneratedStep,
    GenerationEnd,
    continuations_of,
    write_of,
)
from gatehouse_server.sessions.opened_sequences import OpenedSequences
from gatehouse_server.sessions.operations import CloseSequence, OpenSequences, StepSequence, Write
from gatehouse_server.sessions.sampling import GREEDY, Sampling
from safetensors.torch import load_file, save_file

from tests.sessions.desk import Desk
from tests.tiny import write_tiny_keyboard

INITIAL_SIZE = 5


@dataclass
class Generated:
    """What a generation made: steps and end of each alternative; `write` moves the session along."""

    steps: list[list[GeneratedStep]]
    ends: list[GenerationEnd]
    write: Write | None

    def tokens(self, alternative: int = 0) -> list[int]:
        """The tokens of an alternative."""
        return [step.token_id for step in self.steps[alternative] if step.token_id is not None]

    def text(self, alternative: int = 0) -> str:
        """The text of an alternative."""
        return "".join(step.text for step in self.steps[alternative])


def request(model: str | None = "keyboard", prompt: Any = None, **fields: Any) -> OpenSequences:
    """What to continue; lists of ints become token ids."""
    if isinstance(prompt, list):
        prompt = np.array(prompt, dtype=np.int64)
    given = {"session_id": None, "initial": None, "stop_ids": (), "count": 1, "max_steps": 8, **fields}
    if given["session_id"] is not None and model == "keyboard":
        model = None
    return OpenSequences(model=model, prompt=prompt, **given)


def generate(
    desk: Desk, asked: OpenSequences, sampling: Sampling = GREEDY, *, others: Sequence[Any] = ()
) -> Generated:
    """Generates to the end. With each step `others` are sent, to share its tick."""
    opened = desk.one(asked)
    assert isinstance(opened, OpenedSequences)
    every = going_on = continuations_of(opened, asked, sampling)
    steps: list[list[GeneratedStep]] = [[] for _ in every]
    outputs = [opened.output] * len(every)
    while going_on:
        for each, output in zip(going_on, outputs, strict=True):
            step = each.take(output)
            if step is not None:
                steps[step.alternative].append(step)
        desk.ask(*(CloseSequence(sequence_id=each.sequence_id) for each in going_on if each.end is not None))
        going_on = tuple(each for each in going_on if each.end is None)
        answers = desk.ask(*(step_of(each) for each in going_on), *others)
        outputs = [answer.output for answer in answers[: len(going_on)]]
    ends = [each.end for each in every if each.end is not None]
    return Generated(steps, ends, None if opened.standing is None else write_of(opened, every[0]))


def step_of(continuation: Continuation) -> StepSequence:
    """The continuation's next step in the engine."""
    return StepSequence(sequence_id=continuation.sequence_id, inputs=continuation.last)


def write_tiny_captions(path: Path) -> Path:
    """The tiny keyboard with a layer that makes the first state of a vector."""
    write_tiny_keyboard(path)
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    config["initial"] = {"size": INITIAL_SIZE, "activation": "tanh"}
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = load_file(path / "model.safetensors")
    width = 16 + 32  # the projection and the cell
    generator = torch.Generator().manual_seed(5)
    weights["initial.weight"] = torch.randn((width, INITIAL_SIZE), generator=generator)
    weights["initial.bias"] = torch.randn((width,), generator=generator)
    save_file(weights, path / "model.safetensors")
    return path


def whole_output(desk: Desk, session_id: str, inputs: Any) -> list[float]:
    """What a session answers after a write."""
    vector = desk.write(session_id, inputs, vector=True).steps[0].vector
    assert vector is not None
    values: list[float] = vector.tolist()
    return values


def rows_in_use(desk: Desk) -> int:
    """Bytes of states in use, and sequences that are open."""
    desk.tick()
    assert desk.counts.last_gauges.continuations == 0
    return int(desk.counts.last_gauges.state_bytes)
