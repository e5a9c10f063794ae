"""Whole documents: the offline lane in process and the service, beside an ideal loop over `nn.LSTM`, in one run.

    python -m benchmarks.offline --json [--documents 2000] [--rounds 2] [--abstracts FILE.tsv] [--quick]

Two mixes of documents:
- `R3`: embedding 128 of 10,000 words, a bidirectional LSTM of 256, mean pooling, 4 classes; random token ids, lengths
  log-normal with mean 200 and sigma 0.6, clipped to 10..1000.
- `text`: the embedded model `topics` and texts. With `--abstracts` those of a TSV file with columns `title` and
  `abstract` (the public arXiv abstracts that the model was trained for); without, texts of that length made from the
  sentences of examples/documents.jsonl. The row says which.

Three ways, in turns:
- `ideal`: all documents in memory as token ids, sorted by length, in batches of the best size, padded or packed, one
  thread. Which size is best is found out first.
- `lane`: the engine's lane, which sees what a stream lets it see: so many documents in flight, in random order.
- `service`: a real server process with its defaults and a real client process that has 512 documents under way; texts
  are sent as texts, and the server encodes them.

Rates of ideal and lane are of the thread's processor time, which other load disturbs less than the clock's, and by the
clock; the service's is by the clock, and has the second core for everything but computing. `memory` is the server's:
before the first document, and at most. The last line is JSON.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gatehouse_server.network.network import Network

from benchmarks import outcome
from benchmarks.document_mix import Ids, Mix, random_mix, text_mix
from benchmarks.offline_ideal import Ideal
from benchmarks.offline_lane import shares, through_lane
from benchmarks.offline_service import service_of
from benchmarks.server_process import forget_peak, peak_resident_bytes, resident_bytes_of

IDEAL_BATCHES = (16, 32, 64, 128)
SERVICE_SECONDS = 8.0
LARGEST_DIFFERENCES = {"cpu": 1e-5, "cuda": 5e-3}
"""Scores of lane and `nn.LSTM` may differ by so much: they sum in different orders, and cuDNN rounds to TF32."""

_SCANNED = 200

Row = dict[str, Any]


@dataclass
class Rates:
    """Documents per second of one way, a number for each round. The processor's time says nothing of a GPU's."""

    on_gpu: bool = False
    processor: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)

    def add(self, documents: int, work: Callable[[], object]) -> None:
        """Does the work, which is so many documents."""
        clock, processor = time.perf_counter(), time.thread_time()
        work()
        by_clock = documents / (time.perf_counter() - clock)
        self.processor.append(by_clock if self.on_gpu else documents / (time.thread_time() - processor))
        self.clock.append(by_clock)


def measure(mix: Mix, options: argparse.Namespace, say: Callable[[str], None]) -> Row:
    """All three ways with one mix."""
    documents, count, in_flight = mix.documents, len(mix.documents), options.in_flight
    on_gpu = options.device == "cuda"
    model, network = Ideal(mix.spec, mix.parameters).eval().to(options.device), mix.network(options.device)
    difference = check(model, network, documents[:200], LARGEST_DIFFERENCES[options.device])
    say(f"{mix.name}: scores differ by at most {difference:.1e} from nn.LSTM packed")
    best = best_ideals(model, documents[:_SCANNED], on_gpu=on_gpu)
    ways: dict[str, Callable[[], object]] = {
        f"ideal {kind} {size}": partial(model.scores, documents, size, packed=kind == "packed")
        for kind, size in best.items()
    }
    ways["lane"] = partial(through_lane, network, documents, in_flight)
    ways["lane without slices"] = partial(through_lane, network, documents, in_flight, math.inf)
    rates = {name: Rates(on_gpu) for name in ways}
    with service_of(mix, options.seconds, options.device) as service:
        resident = resident_bytes_of(service.server.pid)
        forget_peak(service.server.pid)
        for _ in range(options.rounds):
            for name, work in ways.items():
                rates[name].add(count, work)
                say(f"{mix.name}: {name:22} {rates[name].processor[-1]:7.1f} documents/s of processor time")
            service.add()
            say(f"{mix.name}: {'service':22} {service.rates[-1]:7.1f} documents/s by the clock")
        peak = peak_resident_bytes(service.server.pid)
    last = through_lane(network, documents, in_flight)
    ideals = [name for name in rates if name.startswith("ideal")]
    best_name = max(ideals, key=lambda name: max(rates[name].processor))
    ideal, lane = rates[best_name], rates["lane"]
    slices = sorted(last.slice_seconds)
    steps = mix.mean_steps
    return {
        "mix": mix.name,
        "what": mix.what,
        "documents": count,
        "mean_steps": round(steps, 1),
        "in_flight": in_flight,
        "rounds": options.rounds,
        "largest_difference": difference,
        "ideal": {"way": best_name, **_told(ideal)},
        "lane": {
            **_told(lane),
            "over_ideal": _ratio(lane.processor, ideal.processor),
            "over_ideal_by_the_clock": _ratio(lane.clock, ideal.clock),
            "slicing_cost": round(1 - _ratio(lane.processor, rates["lane without slices"].processor), 3),
            "computed_per_useful_step": round(last.totals.computed_steps / last.totals.steps, 4),
            "batches": last.totals.batches,
            "form_share": round(last.totals.form_seconds * max(lane.processor) / count, 4),
            "slice_ms": {
                name: round(1e3 * slices[int(quantile * (len(slices) - 1))], 2)
                for name, quantile in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
            },
            "shares": shares(network, documents[:200]),
        },
        "service": {
            "documents_per_second": round(max(service.rates), 1),
            "steps_per_second": round(max(service.steps_per_second)),
            # By steps: a few seconds hold documents that are a little longer or shorter than the mean.
            "over_ideal_by_the_clock": _ratio(
                service.steps_per_second, [rate * steps for rate in ideal.clock]
            ),
            "server_cpu_us_per_step": round(min(service.server_cpu_us_per_step), 2),
            "client_cpu_us_per_step": round(min(service.client_cpu_us_per_step), 2),
            "memory_bytes": {"before": resident, "peak": peak, "grown": peak - resident},
        },
    }


def best_ideals(model: Ideal, documents: Sequence[Ids], *, on_gpu: bool) -> dict[str, int]:
    """The quickest batch size, padded and packed; measured on a part of the documents."""
    best = {}
    for kind in ("padded", "packed"):
        rates = {size: Rates(on_gpu) for size in IDEAL_BATCHES}
        for size, rate in rates.items():
            rate.add(len(documents), partial(model.scores, documents, size, packed=kind == "packed"))
        best[kind] = max(rates, key=lambda size: max(rates[size].processor))
    return best


def check(model: Ideal, network: Network, documents: Sequence[Ids], most: float) -> float:
    """The largest difference from nn.LSTM, packed. Raises ValueError when it is more than `most`."""
    expected = model.scores(documents, 16, packed=True)
    difference = float(np.max(np.abs(through_lane(network, documents, len(documents)).scores - expected)))
    if difference > most:
        raise ValueError(f"the lane's scores differ by {difference} from nn.LSTM")
    return difference


def _told(rates: Rates) -> dict[str, float]:
    return {
        "documents_per_second": round(max(rates.processor), 1),
        "documents_per_second_by_the_clock": round(max(rates.clock), 1),
    }


def _ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Median over rounds of the ratio of two rates."""
    return round(statistics.median(a / b for a, b in zip(one, other, strict=True)), 3)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=2000, help="documents in each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--in-flight", type=int, default=1000, help="documents that the lane sees at once")
    parser.add_argument("--seconds", type=float, default=SERVICE_SECONDS, help="of the service in a round")
    parser.add_argument("--mixes", default="R3,text")
    parser.add_argument("--abstracts", type=Path, help="a TSV file with real texts")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default cpu")
    parser.add_argument("--quick", action="store_true", help="a minute: few documents, one round")
    outcome.add_arguments(parser)
    options = parser.parse_args()
    if options.quick:
        options.documents, options.rounds, options.seconds = 400, 1, 3.0
    torch.set_num_threads(1)
    say: Callable[[str], None] = (lambda line: None) if options.json else partial(print, flush=True)
    makers = {"R3": partial(random_mix, seed=0), "text": partial(text_mix, path=options.abstracts)}
    rows = [measure(makers[name](options.documents), options, say) for name in options.mixes.split(",")]
    outcome.finish(
        options, options.device, {"benchmark": "offline", "device": options.device, "results": rows}
    )


if __name__ == "__main__":
    main()
