"""What calls answer: frozen values, without any protobuf type."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from gatehouse.activations import LayerActivations
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

    `best` holds what `k` asked for, best first. `vector` is the whole output (V values) when asked for, `hidden`
    what the top recurrent layer hands on (R values): read-only memoryviews of float32, which `numpy.asarray` takes
    without a copy.
    """

    position: int
    best: tuple[Candidate, ...]
    vector: memoryview[float] | None
    hidden: memoryview[float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    """What an accepted write answers.

    `outputs` has one entry for each step that an output was asked for. With scores, `scores` and `token_ids`
    tell each consumed token and its natural log-probability. `repeated` tells that this is the answer of an
    earlier arrival of the same write. `activations` has what went on inside when that was asked for, the lowest
    layer first; `token_ids` and `token_texts` then tell the consumed tokens.
    """

    session: str
    state: SessionState
    outputs: tuple[StepOutput, ...]
    scores: tuple[float, ...]
    token_ids: tuple[int, ...]
    repeated: bool
    timing: Timing
    activations: tuple[LayerActivations, ...] = ()
    token_texts: tuple[str, ...] = ()

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

    @property
    def hidden(self) -> memoryview[float] | None:
        """What the top layer hands on after the last step; None when it was not asked for."""
        return self.outputs[-1].hidden if self.outputs else None


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
class DocumentStep:
    """What a model says of one step of a document; what was not asked for is empty or None.

    `scores` are the labels, best first. `vector` is the whole output, `hidden` what the recurrent layers hand on:
    read-only memoryviews of float32, which `numpy.asarray` takes without a copy. `log_probability` is that of the
    step's token, given those before it. Of a text, `text[step.span]` is the part that the token stands for.
    """

    scores: tuple[LabelScore, ...] = ()
    vector: memoryview[float] | None = None
    hidden: memoryview[float] | None = None
    log_probability: float | None = None
    token_id: int | None = None
    text_start: int = 0
    text_end: int = 0

    @property
    def label(self) -> str | None:
        """The best label; None where there is none."""
        return self.scores[0].label if self.scores else None

    @property
    def score(self) -> float | None:
        """The best label's score; None where there is none."""
        return self.scores[0].score if self.scores else None

    @property
    def span(self) -> slice:
        """Where the token stands in the text."""
        return slice(self.text_start, self.text_end)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentResult:
    """What became of one document: what was asked for, or `error`, never both.

    `scores` are a classifier's labels, best first; `vector` the whole output, or the values of a regression; `hidden`
    what the recurrent layers hand on, pooled as the model pools it; `log_likelihood` the natural logarithm of the
    probability of all tokens under a language model. With `every_step`, `steps` has an entry for each step instead.

    `step_count` is how many steps were read, `truncated` whether the document was cut at the server's limit.
    `activations` has what went on inside when that was asked for, the lowest layer first; `token_ids` and
    `token_texts` then tell the tokens.
    """

    id: str
    scores: tuple[LabelScore, ...] = ()
    vector: memoryview[float] | None = None
    hidden: memoryview[float] | None = None
    log_likelihood: float | None = None
    steps: tuple[DocumentStep, ...] = ()
    step_count: int = 0
    truncated: bool = False
    activations: tuple[LayerActivations, ...] = ()
    token_ids: tuple[int, ...] = ()
    token_texts: tuple[str, ...] = ()
    timing: Timing | None = None
    error: GatehouseError | None = None

    @property
    def label(self) -> str | None:
        """The best label; None when the document failed or has none."""
        return self.scores[0].label if self.scores else None

    @property
    def score(self) -> float | None:
        """The best label's score; None when the document failed or has none."""
        return self.scores[0].score if self.scores else None


Classification = DocumentResult
"""The result of a document that was classified."""
