"""The offline lane in process: documents in, scores out, and what that took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gatehouse_server.engine.bucketing import OfflineBatching
from gatehouse_server.engine.documents import DocumentScores, DocumentTask
from gatehouse_server.engine.loop import Answers
from gatehouse_server.engine.observer import OfflineBatch, SilentObserver
from gatehouse_server.engine.offline import DEFAULT_SLICE_SECONDS, OfflineLane
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.network.network import Network
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile

from benchmarks.document_mix import Ids
from benchmarks.offline_ideal import Scores

MODEL = "documents@1"
PARTS = {
    "matrix products": ("_linear_pointwise", "addmm_", "addmm", "mm"),
    "input rows": ("index_select",),
    "gates": ("sigmoid_", "tanh", "tanh_", "mul", "mul_", "add", "addcmul_"),
    "pooling": ("add_", "maximum"),
}
"""Names of torch's operators, by what the lane uses them for."""


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
    assert network.head is not None
    totals, sink = Totals(), NoSink()
    lane = OfflineLane({MODEL: network}, OfflineBatching(), totals, slice_seconds=lambda: slice_seconds)
    scores = np.empty((len(documents), network.head.size), dtype=np.float32)
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
