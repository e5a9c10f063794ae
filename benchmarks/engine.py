"""Online steps per second in process, without RPC: the engine beside plain torch and beside the machine's floors.

    python -m benchmarks.engine --json [--shapes R1,R2] [--batches 1,8,64,256,512]

A tick takes one step of each of B sequences and answers the five best next tokens with their log-probabilities. One
compute thread, float32. Measured in turns, in one run:
- `lstm`: `nn.LSTM` with T = 1, `nn.Linear`, `log_softmax`, `topk`;
- `fused`: the step written by hand, `benchmarks.hand_fused`;
- `backend`: `TorchOnlineBackend.run`, states gathered from the table and scattered into other rows of it;
- `engine`: the same through `OnlineEngine.tick`, one new job for each sequence made and submitted for each tick;
- floors: the weights' bytes read or copied once, and the matrix products of a tick alone, whichever way is fastest.

`fraction_of_floor` is the larger floor over the time of the backend or the engine: 1 cannot be exceeded but by noise.
Times are processor time of the process, the median call of the best turn, since other programs use the machine; the
median turn and wall times are told beside it. R3 has no online step: `benchmarks.offline` measures its documents.
The last line of standard output is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time

import numpy as np
import torch
from gatehouse_server.engine.job import Job, Wants
from gatehouse_server.engine.observer import SilentObserver
from gatehouse_server.engine.online import OnlineEngine
from gatehouse_server.engine.online_backend import HeadRequest, OnlineBatch
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.network.network import Network
from torch import Tensor

from benchmarks.engine_floors import floors, products_of, weight_bytes
from benchmarks.hand_fused import HandFused
from benchmarks.network import SHAPES, PlainModel, parameters_of
from benchmarks.turns import Tick, in_turns, microseconds

K = 5
NONE = np.empty(0, dtype=np.int64)
LARGEST_DIFFERENCE = 1e-4
"""Log-probabilities of the candidates may differ by so much: they sum in different orders."""


class Backend:
    """B sessions whose states move between two rows each, as a session's states do."""

    def __init__(self, network: Network, ids: np.ndarray) -> None:
        self.backend = TorchOnlineBackend(network, capacity=2 * len(ids))
        count = len(ids)
        rows = np.arange(1, count + 1, dtype=np.int64)
        self._batches = [
            OnlineBatch(
                inputs=ids,
                batch_sizes=(count,),
                source_rows=source,
                target_rows=target,
                peeked_rows=NONE,
                head=HeadRequest(
                    rows=np.arange(count, 2 * count),
                    ks=np.full(count, K),
                    suppressed=None,
                    score_rows=NONE,
                    score_tokens=NONE,
                    vector_rows=NONE,
                    restricted=(),
                ),
            )
            for source, target in ((rows, rows + count), (rows + count, rows))
        ]

    def tick(self) -> np.ndarray:
        """The best log-probabilities, a (k,) array for each session."""
        batch, other = self._batches
        self._batches = [other, batch]
        head = self.backend.run(batch).head
        assert head is not None, "outputs were asked for"
        return np.array([best[1] for best in head.best if best is not None])


class Jobs:
    """B sessions that hand in their next step for each tick."""

    def __init__(self, network: Network, ids: np.ndarray) -> None:
        count = len(ids)
        self._engine = OnlineEngine(
            model="shape",
            backend=TorchOnlineBackend(network, capacity=2 * count),
            batching=OnlineBatching(max_sessions_per_tick=count),
            observer=SilentObserver(),
            clock=time.monotonic,
        )
        self._rows = [(1 + number, 1 + count + number) for number in range(count)]
        self._inputs = [ids[number : number + 1] for number in range(count)]
        self._wants = Wants(k=K)
        self._failures: list[Exception] = []
        self._done = 0

    def tick(self) -> list[Job]:
        """The jobs, done."""
        now = time.monotonic()
        jobs = [
            Job(
                inputs=step,
                source_row=source,
                target_row=target,
                wants=self._wants,
                finished=self._finished,
                received_seconds=now,
            )
            for step, (source, target) in zip(self._inputs, self._rows, strict=True)
        ]
        self._rows = [(target, source) for source, target in self._rows]
        for job in jobs:
            self._engine.submit(job)
        done = self._done
        self._engine.tick()
        if self._failures or self._done - done != len(jobs):
            raise RuntimeError(f"a tick failed: {self._failures}")
        return jobs

    def _finished(self, job: Job, failure: Exception | None) -> None:
        self._done += 1
        if failure is not None:
            self._failures.append(failure)


def measure(name: str, batch: int, turns: int, turn_seconds: float) -> dict[str, object]:
    """One shape at one batch size."""
    spec = SHAPES[name]
    parameters = parameters_of(spec)
    network, model = Network.build(spec, parameters), PlainModel(spec, parameters).eval()
    ids = torch.randint(10_000, (batch,), generator=torch.Generator().manual_seed(1))
    fused = HandFused(spec, parameters, batch, K)
    backend, jobs = Backend(network, ids.numpy()), Jobs(network, ids.numpy())
    recurrent = spec.recurrent
    state = (
        torch.zeros(recurrent.layers, batch, recurrent.output_size),
        torch.zeros(recurrent.layers, batch, recurrent.hidden_size),
    )

    def lstm() -> tuple[Tensor, Tensor]:
        nonlocal state
        logits, state = model.step(ids, state)
        values, best = logits.log_softmax(dim=1).topk(K)
        return values, best

    difference = 0.0
    for _ in range(3):  # all of them take the same steps from the same states
        expected = lstm()[0].numpy()
        of_jobs = np.array([job.best[0].values for job in jobs.tick()])
        for values in (fused.step(ids)[0].numpy(), backend.tick(), of_jobs):
            difference = max(difference, float(np.abs(values - expected).max()))
    if difference > LARGEST_DIFFERENCE:
        raise RuntimeError(f"the ways answer differently, by {difference}")
    ways: dict[str, Tick] = {
        "lstm": lstm,
        "fused": lambda: fused.step(ids),
        "backend": backend.tick,
        "engine": jobs.tick,
    }
    taken = in_turns(ways | floors(spec, batch), turns, turn_seconds)
    least = {way: min(each.cpu) for way, each in taken.items()}
    kinds = {
        kind: min(seconds for way, seconds in least.items() if way.startswith(kind))
        for kind in ("bytes", "products")
    }
    floor = max(kinds.values())
    return {
        "shape": name,
        "batch": batch,
        "precision": "float32",
        "largest_difference": float(f"{difference:.1e}"),
        "steps_per_second": {way: round(batch / least[way]) for way in ways},
        "ticks_per_second": {way: round(1 / least[way], 1) for way in ways},
        "engine_over_lstm": round(least["lstm"] / least["engine"], 2),
        "engine_over_fused": round(least["fused"] / least["engine"], 2),
        "floor_us": {kind: microseconds(seconds) for kind, seconds in kinds.items()},
        "fraction_of_floor": {way: round(floor / least[way], 3) for way in ("fused", "backend", "engine")},
        "fraction_of_bytes_floor": {
            way: round(kinds["bytes"] / least[way], 3) for way in ("backend", "engine")
        },
        "gigaflops_of_products": round(
            2e-9 * batch * sum(inputs * outputs for inputs, outputs in products_of(spec)) / kinds["products"],
            1,
        ),
        "weight_bytes": weight_bytes(spec),
        "times": {way: each.summary() for way, each in taken.items()},
    }


def _hardware() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    name = f"{model or platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    return f"{name}, torch {torch.__version__}, 1 thread"


def main() -> None:
    """Measures, and ends with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")
    parser.add_argument("--shapes", default="R1,R2,R3")
    parser.add_argument("--batches", default="1,8,64,256,512")
    parser.add_argument("--turns", type=int, default=5, help="turns of each way (default 5)")
    parser.add_argument("--turn-seconds", type=float, default=0.25, help="seconds of a turn (default 0.25)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: list[dict[str, object]] = []
    with torch.inference_mode():
        for name in arguments.shapes.split(","):
            if name == "R3":
                results.append({"shape": name, "note": "no online step; see benchmarks.offline"})
                continue
            for batch in map(int, arguments.batches.split(",")):
                results.append(measure(name, batch, arguments.turns, arguments.turn_seconds))
                if not arguments.json:
                    shown = {key: value for key, value in results[-1].items() if key != "times"}
                    sys.stdout.write(f"{shown}\n")
                    sys.stdout.flush()
    sys.stdout.write(
        json.dumps({"benchmark": "engine", "hardware": _hardware(), "k": K, "results": results}) + "\n"
    )


if __name__ == "__main__":
    main()
