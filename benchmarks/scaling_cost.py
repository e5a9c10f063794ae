"""What a step costs as more sessions share a tick: the engine alone, and the sessions' lane above it. No RPC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from gatehouse_server.network.network import Network
from gatehouse_server.sessions.limits import SessionLimits

from benchmarks.engine_ways import Jobs
from benchmarks.hand import Hand
from benchmarks.made_sessions import exported, imported, model_folder, new_writer, registry_of
from benchmarks.network import SHAPES, parameters_of
from benchmarks.session_crowd import turns
from benchmarks.turns import in_turns

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
MOST_RISE = 1.10
"""Doubling the batch may raise the cost of a step by so much."""

Row = dict[str, Any]

_VOCABULARY = 10_000


@torch.inference_mode()
def measure(shape: str, batches: Sequence[int], rounds: int, turn_seconds: float) -> list[Row]:
    """A row for each way, with the cost of a step by batch."""
    return [
        {"shape": shape, "way": "engine", **costs_of(_engine(shape, batches), rounds, turn_seconds)},
        {"shape": shape, "way": "sessions", **costs_of(_sessions(shape, batches), rounds, turn_seconds)},
    ]


def costs_of(ways: dict[int, Callable[[], object]], rounds: int, turn_seconds: float) -> Row:
    """The cost of a step in each way, and how it changes as the batch doubles."""
    taken = in_turns({str(batch): way for batch, way in ways.items()}, rounds, turn_seconds)
    # The median call of the best turn, by processor time.
    costs = {batch: 1e6 * min(taken[str(batch)].cpu) / batch for batch in ways}
    rises = {str(batch): round(costs[batch] / costs[batch // 2], 3) for batch in costs if batch // 2 in costs}
    row: Row = {
        "us_per_step": {str(batch): round(cost, 2) for batch, cost in costs.items()},
        "rise_at_doubling": rises,
        "greatest_rise": max(rises.values(), default=None),
        "within_limit": all(rise <= MOST_RISE for rise in rises.values()),
    }
    if 64 in costs and 1 in costs:
        row["at_64_over_at_1"] = round(costs[64] / costs[1], 3)
    return row


def _engine(shape: str, batches: Sequence[int]) -> dict[int, Callable[[], object]]:
    spec = SHAPES[shape]
    network = Network.build(spec, parameters_of(spec))
    ids = torch.randint(_VOCABULARY, (max(batches),), generator=torch.Generator().manual_seed(1)).numpy()
    return {batch: Jobs(network, ids[:batch]).tick for batch in batches}


def _sessions(shape: str, batches: Sequence[int]) -> dict[int, Callable[[], object]]:
    """One write of each of so many sessions; beyond `max_sessions_per_tick` it takes several ticks."""
    with model_folder(shape) as folder:
        registry = registry_of(folder)
    (model,) = registry.models
    hand = Hand(registry, limits=SessionLimits(rest_seconds=1e9, idle_seconds=1e9))
    writers = imported(hand, exported(hand, new_writer(hand, model.key)), max(batches))
    return {batch: partial(turns, hand, writers[:batch], 1) for batch in batches}
