"""What calls answer: frozen values, without any protobuf type."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from gatehouse.errors import GatehouseError


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where the time of one operation went on the server: waiting for the engine, and in it."""

    queue_seconds: float
    compute_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """Where a session stands.

    `position` counts the steps consumed, `revision` the writes accepted in this `incarnation` (life) of the
    session. A write can go back to 0 and to anything from `oldest_restorable_position` on. `durable_revision`
    is what would survive the sudden death of the server. The session ends at `expire_time` unless it is used
    before.
    """

    incarnation: int
    revision: int
    position: int
    oldest_restorable_position: int
    durable_revision: int
    expire_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One word, and its natural log-probability over the full vocabulary."""

    text: str
    log_probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestions:
    """The likeliest next words, best first.

    `prefix` is the unfinished word that each of them begins with; empty when they follow the text. `rebuilt`
    tells that the session was made by this call. `computed_steps` is how much had to be computed for the
    answer.
    """

    session: str
    suggestions: tuple[Suggestion, ...]
    prefix: str
    rebuilt: bool
    computed_steps: int
    state: SessionState
    timing: Timing

    @property
    def words(self) -> list[str]:
        """The words alone, best first."""
        return [suggestion.text for suggestion in self.suggestions]


class Candidate(NamedTuple):
    """One of the best next tokens or labels: id, text (empty when it has none), natural log-probability.

    A tuple: there are several in each answer, and one costs a third of a frozen dataclass.
    """

    id: int
    text: str
    log_probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutput:
    """The outputs after one step.

    `best` holds what `k` asked for, best first. `vector` is the whole output (V values) when asked for: a
    read-only memoryview of float32, which `numpy.asarray` takes without a copy.
    """

    position: int
    best: tuple[Candidate, ...]
    vector: memoryview[float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    """What an accepted write answers.

    `outputs` has one entry for each step that an output was asked for. With scores, `scores` and `token_ids`
    tell each consumed token and its natural log-probability. `repeated` tells that this is the answer of an
    earlier arrival of the same write.
    """

    session: str
    state: SessionState
    outputs: tuple[StepOutput, ...]
    scores: tuple[float, ...]
    token_ids: tuple[int, ...]
    repeated: bool
    timing: Timing

    @property
    def position(self) -> int:
        """How many steps the session has consumed after the write."""
        return self.state.position

    @property
    def revision(self) -> int:
        """The revision that the write produced."""
        return self.state.revision

    @property
    def best(self) -> tuple[Candidate, ...]:
        """The best next tokens after the last step; empty when none were asked for."""
        return self.outputs[-1].best if self.outputs else ()

    @property
    def vector(self) -> memoryview[float] | None:
        """The whole output after the last step; None when it was not asked for."""
        return self.outputs[-1].vector if self.outputs else None


Tier = Literal["live", "host", "store", "unknown"]
"""Where the server keeps a session: ready for its next step, packed in memory, in the state store alone; `unknown`
when the server is newer than this client.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLine:
    """What an operator is told of a session. `size_bytes` is what it takes where it is. How far back it can go
    (`state.oldest_restorable_position`) is not told.
    """

    session: str
    model: str
    tier: Tier
    state: SessionState
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScore:
    """A label and how well it fits, in [0, 1]."""

    label: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """What became of one document: `scores` best first, or `error`, never both.

    `step_count` is how many steps were read, `truncated` whether the document was cut at the server's limit.
    """

    id: str
    scores: tuple[LabelScore, ...] = ()
    step_count: int = 0
    truncated: bool = False
    timing: Timing | None = None
    error: GatehouseError | None = None

    @property
    def label(self) -> str | None:
        """The best label; None when the document failed."""
        return self.scores[0].label if self.scores else None

    @property
    def score(self) -> float | None:
        """The best label's score; None when the document failed."""
        return self.scores[0].score if self.scores else None
