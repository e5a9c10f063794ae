"""What a step, a tick and a document take, cell by cell, in turns within one run."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from gatehouse_server.network.spec import parameter_shapes
from torch import Tensor

from benchmarks.cells_kinds import (
    CAUSAL,
    KINDS,
    of_equal_count,
    of_equal_size,
    parameter_count,
    recorded,
    spec_of,
)
from benchmarks.cells_plan import Plan
from benchmarks.cells_training import equal_in
from benchmarks.engine_ways import Jobs
from benchmarks.turns import Tick, in_turns, microseconds
from training.cells.network import Shape

Row = dict[str, Any]
BATCHES = (1, 64)
TICK_SESSIONS = 64
DOCUMENTS, DOCUMENT_STEPS = 16, 64


def measure(plan: Plan, seed: int) -> list[Row]:
    """A row for each network of two sizes: that of the trained ones, and one as large as those that people serve.

    Weights are random: the time of a step does not depend on them. `step_us`: one step of the recurrent layer for so
    many sequences, recorded as the server has it. `ticks`: steps per second of the engine's ticks with 64 sessions, new
    jobs and the five best words included. `document_us_per_word`: whole documents, also for two directions.
    All is processor time, the best turn's median call.
    """
    trained = _model(plan.words, plan.word_size, plan.hidden_size)
    large = _model(plan.served_words, plan.word_size, plan.served_hidden_size)
    rows: list[Row] = []
    ways: dict[str, Tick] = {}
    for model in (trained, large):
        for shape in _shapes(model):
            weights = _weights(shape, seed)
            name = f"{shape.kind} {shape.hidden_size} of {model.hidden_size}"
            rows.append(
                {
                    "name": name,
                    "kind": shape.kind,
                    "model_hidden_size": model.hidden_size,
                    "equal": equal_in(shape, model),
                    "hidden_size": shape.hidden_size,
                    "parameters": parameter_count(shape),
                    "recurrent_parameters": parameter_count(shape, "rnn."),
                }
            )
            ways |= _ways(name, shape, weights, seed)
    least = {way: min(turns.cpu) for way, turns in in_turns(ways, plan.turns, plan.turn_seconds).items()}
    for row in rows:
        name = row.pop("name")
        row["document_us_per_word"] = round(
            1e6 * least[f"{name}: document"] / (DOCUMENTS * DOCUMENT_STEPS), 2
        )
        if row["kind"] in CAUSAL:
            row["step_us"] = {batch: microseconds(least[f"{name}: step {batch}"]) for batch in BATCHES}
            row["tick_steps_per_second"] = round(TICK_SESSIONS / least[f"{name}: tick"])
    return rows


def _model(words: int, word_size: int, hidden_size: int) -> Shape:
    return Shape(
        kind="lstm", vocabulary_size=words, embedding_size=word_size, hidden_size=hidden_size, classes=words
    )


def _shapes(model: Shape) -> list[Shape]:
    every = [of(kind, model) for kind in KINDS for of in (of_equal_size, of_equal_count)]
    return list(dict.fromkeys(every))


def _weights(shape: Shape, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = parameter_shapes(spec_of(shape, "keyboard"))
    return {name: torch.randn(size, generator=generator) * 0.05 for name, size in shapes.items()}


def _ways(name: str, shape: Shape, weights: dict[str, Tensor], seed: int) -> dict[str, Tick]:
    generator = torch.Generator().manual_seed(seed)
    words = partial(torch.randint, shape.vocabulary_size, generator=generator)
    reader = recorded(spec_of(shape, "topics"), weights)
    text = words((DOCUMENTS * DOCUMENT_STEPS,))
    ways: dict[str, Tick] = {
        f"{name}: document": partial(reader.summarize, text, (DOCUMENTS,) * DOCUMENT_STEPS)
    }
    if shape.kind not in CAUSAL:
        return ways
    network = recorded(spec_of(shape, "keyboard"), weights)
    for batch in BATCHES:
        state = network.layout.zeros(batch)
        ways[f"{name}: step {batch}"] = partial(network.scan, words((batch,)), (batch,), state)
    ways[f"{name}: tick"] = Jobs(network, words((TICK_SESSIONS,)).numpy()).tick
    return ways
