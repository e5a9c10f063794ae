"""What 8-bit weights bring: one step, head, the five best and their normalizer, against float32 weights.

    python -m benchmarks.precision

Shapes: the embedded keyboard, and R1 and R2 of `benchmarks.network`. One thread, no RPC. The two precisions are
measured in turns by the process's CPU time, and the best turn of each counts, since other programs use the
machine: compare ratios. The last line of standard output is JSON.
"""

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from gatehouse_server.models.folder import load_folder
from gatehouse_server.models.registry import EMBEDDED
from gatehouse_server.network.arithmetic import Arithmetic, Precision
from gatehouse_server.network.network import Network

from benchmarks.network import BATCH_SIZES, SHAPES, K, parameters_of

PRECISIONS: tuple[Precision, ...] = ("float32", "int8")
TURNS = 15
TURN_STEPS = 200
LEAST_REPEATS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The best CPU seconds of one call, by precision."""

    step_seconds: dict[str, float]
    scan_seconds: dict[str, float]


def networks_of(name: str) -> dict[str, Network]:
    """The network of one shape in each precision."""
    if name == "keyboard":
        folder = EMBEDDED / "keyboard" / "1"
        return {
            precision: load_folder(folder, arithmetic=Arithmetic(precision=precision)).network
            for precision in PRECISIONS
        }
    spec = SHAPES[name]
    parameters = parameters_of(spec)
    return {
        precision: Network.build(spec, parameters, arithmetic=Arithmetic(precision=precision))
        for precision in PRECISIONS
    }


def cpu_seconds_of(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The best CPU seconds per call of each, measured in turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(TURNS):
        for name, call in calls.items():
            call()
            start = time.process_time()
            for _ in range(repeats):
                call()
            best[name] = min(best[name], (time.process_time() - start) / repeats)
    return best


def measure(networks: dict[str, Network], batch: int) -> Timing:
    """One step of `batch` sequences, with the head and without."""
    ids = torch.randint(10_000, (batch,), generator=torch.Generator().manual_seed(1))
    states = {name: network.layout.zeros(batch) for name, network in networks.items()}

    def scan(name: str) -> torch.Tensor:
        return networks[name].scan(ids, (batch,), states[name])

    def step(name: str) -> object:
        head = networks[name].head
        assert head is not None
        logits = head.logits(scan(name))
        return head.best(logits, K), head.log_normalizer(logits)

    repeats = max(LEAST_REPEATS, TURN_STEPS // batch)
    return Timing(
        step_seconds=cpu_seconds_of({name: partial(step, name) for name in networks}, repeats),
        scan_seconds=cpu_seconds_of({name: partial(scan, name) for name in networks}, repeats),
    )


def main() -> None:
    """Prints a line for each shape and batch size, then everything as JSON."""
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    with torch.inference_mode():
        for shape in ("keyboard", "R1", "R2"):
            networks = networks_of(shape)
            for batch in BATCH_SIZES:
                timing = measure(networks, batch)
                step, scan = timing.step_seconds, timing.scan_seconds
                rows.append(
                    {
                        "shape": shape,
                        "batch": batch,
                        "float32_microseconds": round(1e6 * step["float32"]),
                        "int8_microseconds": round(1e6 * step["int8"]),
                        "ratio": round(step["float32"] / step["int8"], 2),
                        "ratio_without_head": round(scan["float32"] / scan["int8"], 2),
                        "float32_weight_bytes": networks["float32"].parameter_bytes,
                        "int8_weight_bytes": networks["int8"].parameter_bytes,
                    }
                )
                print(rows[-1], flush=True)
    print(json.dumps({"torch": torch.__version__, "machine": platform.machine(), "precision": rows}))


if __name__ == "__main__":
    main()
