"""Whole documents: the offline lane in process against the ideal loop over `nn.LSTM`, one compute thread.

R3 of the reference shapes: embedding 128 of 10,000 words, a bidirectional LSTM of 256, mean pooling, 4
classes; lengths log-normal with mean 200 and sigma 0.6, clipped to 10..1000; token ids are given.

The ideal loop has all documents in memory, sorted by length, and takes the best of several batch sizes,
padded or packed. The lane sees what a stream lets it see: so many documents in flight, in random order.

    python -m benchmarks.offline [--json] [--documents 3000]

Rounds interleave, and ratios are medians over rounds. Rates are of the thread's own processor time, which
other load on the machine disturbs less than the clock's; both are told. The last line is JSON.
"""

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gatehouse_server.engine.bucketing import OfflineBatching
from gatehouse_server.engine.documents import DocumentScores, DocumentTask
from gatehouse_server.engine.loop import Answers
from gatehouse_server.engine.observer import OfflineBatch, SilentObserver
from gatehouse_server.engine.offline import DEFAULT_SLICE_SECONDS, OfflineLane
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import HeadSpec, NetworkSpec, RecurrentSpec, TokenInputSpec
from torch import Tensor, nn
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile

VOCABULARY, EMBEDDING, HIDDEN, CLASSES = 10_000, 128, 256, 4
MODEL = "documents@1"
IDEAL_BATCHES = (16, 32, 64, 128)
PARTS = {
    "matrix products": ("_linear_pointwise", "addmm_", "addmm", "mm"),
    "input rows": ("index_select",),
    "gates": ("sigmoid_", "mul", "mul_", "add", "addcmul_"),
    "pooling": ("add_",),
}
"""Names of torch's operators, by what the lane uses them for with this shape."""

Ids = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


class Shape(nn.Module):
    """R3 as anyone would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, EMBEDDING)
        self.rnn = nn.LSTM(EMBEDDING, HIDDEN, bidirectional=True)
        self.head = nn.Linear(2 * HIDDEN, CLASSES)

    def network(self) -> Network:
        """The same weights, served."""
        spec = NetworkSpec(
            input=TokenInputSpec(vocabulary_size=VOCABULARY, embedding_size=EMBEDDING),
            recurrent=RecurrentSpec(
                cell="lstm", input_size=EMBEDDING, hidden_size=HIDDEN, bidirectional=True
            ),
            pooling=("mean",),
            head=HeadSpec(kind="softmax", size=CLASSES),
        )
        return Network.build(spec, self.state_dict())


def draw_documents(count: int, seed: int) -> list[Ids]:
    """Documents of the R3 mix."""
    generator = np.random.default_rng(seed)
    sigma = 0.6
    lengths = generator.lognormal(math.log(200) - sigma**2 / 2, sigma, count)
    return [generator.integers(0, VOCABULARY, int(length)) for length in np.clip(lengths.round(), 10, 1000)]


@torch.inference_mode()
def ideal(model: Shape, documents: Sequence[Ids], batch_documents: int, *, packed: bool) -> Scores:
    """Scores from the loop over sorted batches. Padded, the reverse direction is wrong on ragged ones."""
    scores = np.empty((len(documents), CLASSES), dtype=np.float32)
    order = sorted(range(len(documents)), key=lambda number: len(documents[number]), reverse=True)
    for first in range(0, len(order), batch_documents):
        batch = order[first : first + batch_documents]
        lengths = torch.tensor([len(documents[number]) for number in batch])
        ids = torch.zeros(int(lengths[0]), len(batch), dtype=torch.int64)
        for column, number in enumerate(batch):
            ids[: len(documents[number]), column] = torch.from_numpy(documents[number])
        embedded = model.embedding(ids)
        if packed:
            outputs, _ = model.rnn(nn.utils.rnn.pack_padded_sequence(embedded, lengths))
            outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs)
        else:
            outputs, _ = model.rnn(embedded)
            outputs.mul_((torch.arange(len(ids))[:, None] < lengths).unsqueeze(2))
        logits: Tensor = model.head(outputs.sum(0) / lengths[:, None])
        scores[batch] = torch.softmax(logits, dim=1).numpy()
    return scores


class Totals(SilentObserver):
    """Sums over all batches of a run."""

    def __init__(self) -> None:
        self.batches = self.steps = self.computed_steps = 0
        self.form_seconds = 0.0

    def offline_batch(self, batch: OfflineBatch) -> None:
        """Added up."""
        self.batches += 1
        self.steps += batch.steps
        self.computed_steps += batch.computed_steps
        self.form_seconds += batch.form_seconds


class NoSink:
    """Answers are read from the lane's list."""

    def add(self, tag: int, outcome: object) -> None:
        """Never called."""

    def flush(self) -> None:
        """Never called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRun:
    """What one pass over all documents brought."""

    scores: Scores
    totals: Totals
    slice_seconds: list[float]


def through_lane(
    network: Network, documents: Sequence[Ids], in_flight: int, slice_seconds: float = DEFAULT_SLICE_SECONDS
) -> LaneRun:
    """All documents through the lane, never more than `in_flight` of them unanswered."""
    totals, sink = Totals(), NoSink()
    lane = OfflineLane({MODEL: network}, OfflineBatching(), totals, slice_seconds=lambda: slice_seconds)
    scores = np.empty((len(documents), CLASSES), dtype=np.float32)
    slices = []
    sent = answered = 0
    while answered < len(documents):
        answers: Answers = []
        end = min(len(documents), answered + in_flight)
        tickets = [
            Ticket(
                operation=DocumentTask(model_key=MODEL, inputs=documents[number]),
                sink=sink,
                tag=number,
                received_seconds=time.monotonic(),
            )
            for number in range(sent, end)
        ]
        sent = max(sent, end)
        lane.accept(tickets, answers)
        began = time.thread_time()
        lane.run(answers)
        slices.append(time.thread_time() - began)
        for ticket, outcome in answers:
            if not isinstance(outcome, DocumentScores):
                raise TypeError(f"document {ticket.tag} got {outcome!r}")
            scores[ticket.tag] = outcome.scores
        answered += len(answers)
    return LaneRun(scores=scores, totals=totals, slice_seconds=slices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Documents per second of the thread's processor time, and of the clock."""

    processor: float
    clock: float


def measure(work: Callable[[], object], documents: int) -> Rate:
    """How fast `work` does so many documents."""
    clock, processor = time.perf_counter(), time.thread_time()
    work()
    return Rate(
        processor=documents / (time.thread_time() - processor),
        clock=documents / (time.perf_counter() - clock),
    )


def shares(network: Network, documents: Sequence[Ids]) -> dict[str, float]:
    """Share of the lane's time for each part, by torch's profiler, which makes small calls look larger."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        began = time.perf_counter()
        through_lane(network, documents, len(documents))
        total_seconds = time.perf_counter() - began
    events: EventList = profiler.key_averages()
    rest = "views, copies and other calls"
    by_part = dict.fromkeys((*PARTS, rest), 0.0)
    for event in events:
        name = event.key.rpartition("::")[2]
        part = next((part for part, names in PARTS.items() if name in names), rest)
        by_part[part] += event.self_cpu_time_total / 1e6
    by_part["Python"] = max(0.0, total_seconds - sum(by_part.values()))
    return {part: round(seconds / total_seconds, 3) for part, seconds in by_part.items()}


def run(count: int, rounds: int, in_flight: int, say: Callable[[str], None]) -> Mapping[str, Any]:
    """The whole comparison; the figures of the JSON line."""
    torch.manual_seed(0)
    model = Shape().eval()
    network = model.network()
    documents = draw_documents(count, seed=0)
    variants: dict[str, Callable[[], object]] = {}
    for size in IDEAL_BATCHES:
        for packed in (False, True):
            name = f"ideal {'packed' if packed else 'padded'} {size}"
            variants[name] = partial(ideal, model, documents, size, packed=packed)
    for name, slice_seconds in (("lane", DEFAULT_SLICE_SECONDS), ("lane without slices", math.inf)):
        variants[name] = partial(through_lane, network, documents, in_flight, slice_seconds)
    difference = check(model, network, documents[:200], in_flight)
    say(f"scores differ by at most {difference:.1e} from nn.LSTM packed")
    rates: dict[str, list[Rate]] = {name: [] for name in variants}
    for number in range(rounds):
        for name, work in variants.items():
            rates[name].append(measure(work, count))
            rate = rates[name][-1]
            shown = f"{rate.processor:7.1f} documents/s ({rate.clock:.1f} by the clock)"
            say(f"round {number + 1}: {name:22} {shown}")
    best = {name: max(rate.processor for rate in measured) for name, measured in rates.items()}
    best_ideal = max((name for name in best if name.startswith("ideal")), key=lambda name: best[name])
    last = through_lane(network, documents, in_flight)
    slices = sorted(last.slice_seconds)
    return {
        "benchmark": "offline",
        "shape": "R3",
        "documents": count,
        "mean_steps": round(last.totals.steps / count, 1),
        "in_flight": in_flight,
        "rounds": rounds,
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "ideal": best_ideal,
        "ideal_documents_per_second": round(best[best_ideal], 1),
        "lane_documents_per_second": round(best["lane"], 1),
        "ratio": median_ratio(rates["lane"], rates[best_ideal], "processor"),
        "ratio_by_the_clock": median_ratio(rates["lane"], rates[best_ideal], "clock"),
        "ratio_to_best_ideal_of_each_round": round(
            statistics.median(
                rates["lane"][number].processor
                / max(rates[name][number].processor for name in rates if name.startswith("ideal"))
                for number in range(rounds)
            ),
            3,
        ),
        "slicing_cost": round(1 - median_ratio(rates["lane"], rates["lane without slices"], "processor"), 3),
        "computed_per_useful_step": round(last.totals.computed_steps / last.totals.steps, 4),
        "batches": last.totals.batches,
        "form_share": round(last.totals.form_seconds * best["lane"] / count, 4),
        "slice_milliseconds": {
            name: round(1e3 * slices[int(quantile * (len(slices) - 1))], 2)
            for name, quantile in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        },
        "largest_difference": float(difference),
        "shares": shares(network, documents[:200]),
    }


def check(model: Shape, network: Network, documents: Sequence[Ids], in_flight: int) -> float:
    """The largest difference from nn.LSTM, packed. Raises ValueError above 1e-5."""
    expected = ideal(model, documents, 16, packed=True)
    scores = through_lane(network, documents, in_flight).scores
    difference = float(np.max(np.abs(scores - expected)))
    if difference > 1e-5:
        raise ValueError(f"the lane's scores differ by {difference} from nn.LSTM")
    return difference


def median_ratio(one: Sequence[Rate], other: Sequence[Rate], by: str) -> float:
    """Median over rounds of the ratio of two rates."""
    ratios: list[float] = [getattr(a, by) / getattr(b, by) for a, b in zip(one, other, strict=True)]
    return round(statistics.median(ratios), 3)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.offline", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--documents", type=int, default=3000, help="documents in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in-flight", type=int, default=1000, help="documents that the lane sees at once")
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    say: Callable[[str], None] = (lambda line: None) if arguments.json else print
    print(json.dumps(run(arguments.documents, arguments.rounds, arguments.in_flight, say)))


if __name__ == "__main__":
    main()
