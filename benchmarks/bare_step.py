"""A step without any service: `nn.LSTM` with head and top-k as anyone calls it, and the engine in process.

One thread, by the clock: what a served step is compared with in the same run.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
from gatehouse_server.network.arithmetic import Arithmetic, Precision
from gatehouse_server.network.network import Network
from torch import Tensor

from benchmarks.engine_ways import Jobs
from benchmarks.network import SHAPES, PlainModel, parameters_of
from benchmarks.turns import Tick, in_turns
from benchmarks.walkers import VOCABULARY, K

MOST_PER_TICK = 256
"""The server's default of `--max-sessions-per-tick`."""

_PAUSE_SECONDS = 0.002
"""About what lies between two steps of a session that a server serves alone."""

_PAUSED_CALLS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BareStep:
    """Seconds of a step of `batch` sequences: the median call of the best turn. `rested_seconds` has the same two, by
    the name `lstm` or a precision, for a call 2 ms after the one before: weights and code have left the caches then.
    """

    batch: int
    lstm_seconds: float
    engine_seconds: dict[Precision, float]
    rested_seconds: dict[str, float]


@torch.inference_mode()
def bare_step(
    shape: str, sessions: int, precisions: list[Precision], device: str, *, turns: int, turn_seconds: float
) -> BareStep:
    """A step of so many sessions; of as many as a tick takes, if those are fewer."""
    spec, batch = SHAPES[shape], min(sessions, MOST_PER_TICK)
    parameters = {name: tensor.to(device) for name, tensor in parameters_of(spec).items()}
    model = PlainModel(spec, parameters).eval().to(device)
    ids = torch.randint(VOCABULARY, (batch,), generator=torch.Generator().manual_seed(1))
    layers = spec.recurrent.layers
    state = (
        torch.zeros(len(layers), batch, layers[0].output_size, device=device),
        torch.zeros(len(layers), batch, layers[0].hidden_size, device=device),
    )

    def lstm() -> tuple[list[object], list[object]]:
        nonlocal state
        logits, state = model.step(ids.to(device), state)
        best: tuple[Tensor, Tensor] = logits.log_softmax(dim=1).topk(K)
        return best[0].tolist(), best[1].tolist()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # before the engine is built: what it proves at load holds for one thread
    try:
        engines: dict[str, Jobs] = {}
        for precision in precisions:
            arithmetic = Arithmetic(precision=precision)
            network = Network.build(spec, parameters, device, arithmetic=arithmetic)
            engines[precision] = Jobs(network, ids.numpy())
        ways: dict[str, Tick] = {"lstm": lstm} | {precision: jobs.tick for precision, jobs in engines.items()}
        taken = in_turns(ways, turns, turn_seconds)
        rested = {name: _rested(tick) for name, tick in ways.items()}
    finally:
        torch.set_num_threads(threads)
    return BareStep(
        batch=batch,
        lstm_seconds=min(taken["lstm"].wall),
        engine_seconds={precision: min(taken[precision].wall) for precision in precisions},
        rested_seconds=rested,
    )


def _rested(tick: Tick) -> float:
    """The median seconds of calls with a pause before each."""
    taken = []
    for _ in range(_PAUSED_CALLS):
        time.sleep(_PAUSE_SECONDS)
        began = time.perf_counter()
        tick()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
