"""One unit of online work: some steps of one sequence, and what is wanted of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """What a job should answer. Made once for many jobs that want the same.

    `k` best entries at the last step, or with `every_step` at each; `scores` of the consumed tokens; the whole output
    `vector` and the top layer's `hidden` where `k` would be answered. `suppressed` leaves out the entries that are
    never suggested; `candidates` restricts the best to these ids, ascending; `watched` is an id whose value is wanted
    in any case.

    `per_step` tells whether an answer is wanted where `k`, `vector` or `hidden` would be given, `reads` whether it goes
    through the output layer, `reads_each_step` whether every step does, `plain` whether the best at the last step, if
    anything, are all that is wanted.
    """

    k: int = 0
    every_step: bool = False
    scores: bool = False
    vector: bool = False
    hidden: bool = False
    suppressed: bool = False
    candidates: Ids | None = None
    watched: int | None = None
    per_step: bool = field(init=False)
    reads: bool = field(init=False)
    reads_each_step: bool = field(init=False)
    plain: bool = field(init=False)

    def __post_init__(self) -> None:
        reads = self.k > 0 or self.vector
        reads_each_step = self.scores or (self.every_step and reads)
        special = (
            self.vector
            or self.hidden
            or self.suppressed
            or self.candidates is not None
            or self.watched is not None
        )
        object.__setattr__(self, "per_step", reads or self.hidden)
        object.__setattr__(self, "reads", reads)
        object.__setattr__(self, "reads_each_step", reads_each_step)
        object.__setattr__(self, "plain", not reads_each_step and not special)


NOTHING = Wants()


@dataclass(slots=True)
class Best:
    """The answer at one step: ids and values (k,), best first; the whole output (V,), the top layer's output (R,) and
    a watched value if wanted.
    """

    ids: Ids | None = None
    values: Floats | None = None
    vector: Floats | None = None
    hidden: Floats | None = None
    watched: float | None = None


class Job:
    """Reads the state in `source_row`, consumes `inputs` in chunks and leaves the state in `target_row`.

    `inputs`: (T,) int64 token ids or (T, N) float32 features. With T = 0 the job only reads outputs of its source
    state. The source row is never written. `finished` is called on the engine thread when all steps are done, with
    None or with what went wrong; a job that is set `cancelled` is dropped before its next tick, and not finished.
    `best` gets one entry per step that outputs are wanted at, `scores` one per step. `consumed` steps are done,
    `remaining` are still to do. `client` tells whose it is.

    Plain attributes, since a tick looks at each of them once for each of its jobs.
    """

    __slots__ = (
        "best",
        "cancelled",
        "client",
        "consumed",
        "deadline_seconds",
        "ended_seconds",
        "finished",
        "inputs",
        "reads_each_step",
        "received_seconds",
        "remaining",
        "scores",
        "source_row",
        "started_seconds",
        "target_row",
        "wants",
    )

    def __init__(
        self,
        inputs: Ids | Floats,
        source_row: int,
        target_row: int,
        wants: Wants,
        finished: Callable[[Job, Exception | None], None],
        received_seconds: float,
        deadline_seconds: float | None = None,
        client: str = "",
    ) -> None:
        self.inputs = inputs
        self.source_row = source_row
        self.target_row = target_row
        self.wants = wants
        self.reads_each_step = wants.reads_each_step
        self.finished = finished
        self.received_seconds = received_seconds
        self.deadline_seconds = deadline_seconds
        self.client = client
        self.consumed = 0
        self.remaining = len(inputs)
        self.cancelled = False
        self.started_seconds: float | None = None
        self.ended_seconds = 0.0
        self.best: list[Best] = []
        self.scores: list[float] = []

    def advance(self, steps: int, now_seconds: float) -> None:
        """So many steps more are done. What is left reads where they left the state."""
        self.consumed += steps
        self.remaining -= steps
        self.ended_seconds = now_seconds
        if self.remaining:
            self.source_row = self.target_row
