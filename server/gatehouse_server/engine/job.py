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
    """What a job should answer.

    `k` best entries at the last step, or with `every_step` at each; `scores` of the consumed tokens; the whole
    output `vector` where `k` would be answered. `suppressed` leaves out the entries that are never suggested;
    `candidates` restricts the best to these ids, ascending; `watched` is an id whose value is wanted in any case.
    """

    k: int = 0
    every_step: bool = False
    scores: bool = False
    vector: bool = False
    suppressed: bool = False
    candidates: Ids | None = None
    watched: int | None = None

    @property
    def per_step(self) -> bool:
        """Whether an answer is wanted where `k` or `vector` would be given."""
        return self.k > 0 or self.vector


NOTHING = Wants()


@dataclass(slots=True, kw_only=True)
class Best:
    """The answer at one step: ids and values (k,), best first; the whole output (V,) and a watched value if wanted."""

    ids: Ids | None = None
    values: Floats | None = None
    vector: Floats | None = None
    watched: float | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """Reads the state in `source_row`, consumes `inputs` in chunks and leaves the state in `target_row`.

    `inputs`: (T,) int64 token ids or (T, N) float32 features. With T = 0 the job only reads outputs of its source
    state. The source row is never written. `finished` is called on the engine thread when all steps are done, with
    None or with what went wrong; a job that is set `cancelled` is dropped before its next tick, and not finished.
    `best` gets one entry per step that outputs are wanted at, `scores` one per step.
    """

    inputs: Ids | Floats
    source_row: int
    target_row: int
    wants: Wants
    finished: Callable[[Job, Exception | None], None]
    received_seconds: float
    deadline_seconds: float | None = None
    consumed: int = 0
    cancelled: bool = False
    started_seconds: float | None = None
    ended_seconds: float = 0.0
    best: list[Best] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        """Steps still to do."""
        return len(self.inputs) - self.consumed

    @property
    def reads_each_step(self) -> bool:
        """Whether every step of it goes through the output layer."""
        return self.wants.scores or (self.wants.every_step and self.wants.per_step)
