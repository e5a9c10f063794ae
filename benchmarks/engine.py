"""Online steps per second in process, without RPC: the engine beside plain torch and beside the machine's floors.

    python -m benchmarks.engine --json [--shapes R1,R2] [--batches 1,8,64,256,512] [--variants float32,int8]
    python -m benchmarks.engine --json --device cuda --batches 1,64,256,1024,4096 --variants float32,tf32,bfloat16

A tick takes one step of each of B sequences and answers the five best next tokens with their log-probabilities. One
compute thread. Measured in turns, in one run:
- `lstm`: `nn.LSTM` with T = 1, `nn.Linear`, `log_softmax`, `topk`, float32;
- `fused`: the step written by hand, `benchmarks.hand_fused` (CPU), float32;
- `plain`: `TorchOnlineBackend.run` operator by operator, states gathered from the table and scattered into others;
- `backend`: the same with the tick recorded, on a GPU as CUDA graphs;
- `engine`: the same through `OnlineEngine.tick`, one new job for each sequence made and submitted for each tick;
- floors: the weights' bytes read or copied once, and the matrix products of a tick alone, whichever way is fastest.

`fraction_of_floor` is the larger floor over the time of the backend or the engine: 1 cannot be exceeded but by noise,
or, on a CPU, by int8, since its floor of products is float32's. A variant is a precision (float32, int8; on a GPU also
tf32, bfloat16, float16), `+reproducible` if answers shall not depend on the batch where that is not so anyway.
Times on a CPU are processor time of the process, the median call of the best turn, since other programs use the
machine; the median turn and wall times are told beside it. On a GPU they are wall times. R3 has no online step:
`benchmarks.offline` measures its documents. The last line of standard output is JSON.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from gatehouse_server.app.arithmetic import prepare_device
from gatehouse_server.engine.programs import PlainPrograms
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.network.arithmetic import Arithmetic, Precision
from gatehouse_server.network.network import Network
from torch import Tensor

from benchmarks import outcome
from benchmarks.engine_floors import floors, products_of, weight_bytes
from benchmarks.engine_ways import ROWS_PER_SESSION, Jobs, K, Ticks
from benchmarks.hand_fused import HandFused
from benchmarks.network import SHAPES, PlainModel, parameters_of
from benchmarks.turns import Tick, in_turns, microseconds

LARGEST_DIFFERENCES = {"float32": 1e-4, "tf32": 0.02, "float16": 0.02, "bfloat16": 0.15, "int8": 0.15}
"""Log-probabilities of the candidates may differ by so much: sums have another order, or factors are rounded."""

Row = dict[str, Any]
PRECISIONS: dict[str, Precision] = {
    "float32": "float32",
    "tf32": "float32",
    "int8": "int8",
    "bfloat16": "bfloat16",
    "float16": "float16",
}


def arithmetic_of(variant: str) -> Arithmetic:
    """`float32`, `bfloat16+reproducible` and so on. Raises KeyError for a precision that there is not."""
    precision, _, reproducible = variant.partition("+")
    return Arithmetic(
        precision=PRECISIONS[precision], tf32=precision == "tf32", reproducible=reproducible == "reproducible"
    )


class Shape:
    """One shape in one arithmetic on a device, with a table for the largest batch."""

    def __init__(self, name: str, variant: str, device: str, most: int) -> None:
        self.name, self.variant, self.device = name, variant, device
        self.spec, self.arithmetic = SHAPES[name], arithmetic_of(variant)
        prepare_device(device, self.arithmetic)
        self.parameters = parameters_of(self.spec)
        self.network = Network.build(self.spec, self.parameters, device, arithmetic=self.arithmetic)
        self._rows = ROWS_PER_SESSION * most
        self.backend = TorchOnlineBackend(self.network, capacity=2 * self._rows, most_rows=most)
        self.plain = TorchOnlineBackend(
            self.network,
            capacity=self._rows,
            programs_of=lambda arithmetic: PlainPrograms(
                arithmetic, tile_rows=most if device == "cuda" else 128
            ),
        )
        self.model = PlainModel(self.spec, self.parameters).eval().to(device)

    def lstm(self, ids: Tensor) -> Tick:
        """A step of plain torch after the other, its answers fetched."""
        layers = self.spec.recurrent.layers
        state = (
            torch.zeros(len(layers), len(ids), layers[0].step_size, device=self.device),
            torch.zeros(len(layers), len(ids), layers[0].hidden_size, device=self.device),
        )

        def step() -> tuple[np.ndarray, np.ndarray]:
            nonlocal state
            logits, state = self.model.step(ids.to(self.device), state)
            values, best = logits.log_softmax(dim=1).topk(K)
            return values.cpu().numpy(), best.cpu().numpy()

        return step

    def measure(self, batch: int, turns: int, turn_seconds: float) -> Row:
        """One batch size."""
        ids = torch.randint(10_000, (batch,), generator=torch.Generator().manual_seed(1))
        backend, plain = Ticks(self.backend, ids.numpy()), Ticks(self.plain, ids.numpy())
        jobs = Jobs(self.network, ids.numpy(), self.backend, first_row=1 + self._rows)
        ways: dict[str, Tick] = {"lstm": self.lstm(ids)}
        if self.device == "cpu":
            fused = HandFused(self.spec, self.parameters, batch, K)
            ways["fused"] = lambda: fused.step(ids)
        ways |= {"plain": plain.tick, "backend": backend.tick, "engine": jobs.tick}
        difference = _difference(ways)
        if difference > LARGEST_DIFFERENCES[self.arithmetic.name]:
            raise RuntimeError(f"the ways answer differently, by {difference}")
        least_work = floors(self.spec, batch, self.device, self.arithmetic)
        measured = in_turns(
            ways | {name: floor.call for name, floor in least_work.items()}, turns, turn_seconds
        )
        least = {
            name: min(each.wall if self.device == "cuda" else each.cpu) for name, each in measured.items()
        }
        kinds = {
            kind: min(least[name] / floor.times for name, floor in least_work.items() if floor.kind == kind)
            for kind in ("bytes", "products")
        }
        return self._row(batch, difference, least, kinds) | {
            "times": {name: measured[name].summary() for name in ways}
        }

    def _row(self, batch: int, difference: float, least: dict[str, float], kinds: dict[str, float]) -> Row:
        ways = [name for name in ("lstm", "fused", "plain", "backend", "engine") if name in least]
        floor = max(kinds.values())
        operations = 2 * batch * sum(inputs * outputs for inputs, outputs in products_of(self.spec))
        return {
            "shape": self.name,
            "batch": batch,
            "precision": self.variant,
            "reproducible": self.network.reproducible,
            "largest_difference": float(f"{difference:.1e}"),
            "steps_per_second": {way: round(batch / least[way]) for way in ways},
            "ticks_per_second": {way: round(1 / least[way], 1) for way in ways},
            "engine_over": {
                way: round(least[way] / least["engine"], 2)
                for way in ways
                if way not in ("backend", "engine")
            },
            "floor_us": {kind: microseconds(seconds) for kind, seconds in kinds.items()},
            "fraction_of_floor": {way: round(floor / least[way], 3) for way in ways if way != "lstm"},
            "gigaflops_of_products": round(1e-9 * operations / kinds["products"], 1),
            "weight_bytes": weight_bytes(self.spec, self.arithmetic),
        }


def _difference(ways: dict[str, Tick]) -> float:
    """The largest difference of log-probabilities to plain torch's, after the same steps from the same states."""
    most = 0.0
    for _ in range(3):
        values = {name: _VALUES_OF[name](tick()) for name, tick in ways.items()}
        most = max(most, *(float(np.abs(each - values["lstm"]).max()) for each in values.values()))
    return most


_VALUES_OF: dict[str, Callable[[Any], np.ndarray]] = {
    "lstm": lambda answer: answer[0],
    "fused": lambda answer: answer[0].numpy(),
    "plain": lambda answer: answer,
    "backend": lambda answer: answer,
    "engine": lambda jobs: np.array([job.best[0].values for job in jobs]),
}


def main() -> None:
    """Measures, and ends with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", default="R1,R2")
    parser.add_argument("--batches", default="1,8,64,256,512")
    parser.add_argument("--variants", default="float32", help="precisions, see above (default float32)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--turns", type=int, default=5, help="turns of each way (default 5)")
    parser.add_argument("--turn-seconds", type=float, default=0.25, help="seconds of a turn (default 0.25)")
    parser.add_argument("--most-seconds", type=float, help="begin no further measurement after so long")
    parser.add_argument("--quick", action="store_true", help="a minute: short turns, few batches")
    outcome.add_arguments(parser)
    options = parser.parse_args()
    if options.quick:
        options.batches, options.turns, options.turn_seconds = "1,64", 2, 0.1
    torch.set_num_threads(1)
    batches = [int(batch) for batch in options.batches.split(",")]
    ends = time.monotonic() + (options.most_seconds or float("inf"))
    results: list[Row] = []
    left_out: list[str] = []
    with torch.inference_mode():
        for name, variant in product(options.shapes.split(","), options.variants.split(",")):
            if name == "R3":
                continue
            shape = Shape(name, variant, options.device, max(batches))
            for batch in batches:
                if time.monotonic() > ends:
                    left_out.append(f"{name} {variant} {batch}")
                    continue
                results.append(shape.measure(batch, options.turns, options.turn_seconds))
                if not options.json:
                    print({key: value for key, value in results[-1].items() if key != "times"}, flush=True)
    figures = {
        "benchmark": "engine",
        "device": options.device,
        "threads": 1,
        "k": K,
        "left_out": left_out,
        "results": results,
    }
    outcome.finish(options, options.device, figures)


if __name__ == "__main__":
    main()
