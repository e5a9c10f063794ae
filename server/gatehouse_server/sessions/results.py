"""What a session answers: plain objects that the transport encodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.looking import LayerActivations
from gatehouse_server.engine.value import value

Durability = Literal["none", "async", "sync"]
"""What a session outlives: no end of the server at all; one, up to its durable revision; one, up to its revision."""

Tier = Literal["live", "host", "store"]
"""Where a session is: in the state table, packed in memory, or in the store alone."""


@value
class SessionState:
    """Where a session stands. `expires_in_seconds` counts from the moment of the answer."""

    incarnation: int
    revision: int
    position: int
    oldest_restorable_position: int
    durable_revision: int
    expires_in_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session and its limits; answers whatever makes one, and GetSession. `model` is `name@version`."""

    session_id: str
    model: str
    state: SessionState
    max_unanswered_writes: int
    max_write_steps: int
    max_tape_steps: int
    durability: Durability


@value
class Timing:
    """Where an operation's time went."""

    queue_seconds: float
    compute_seconds: float


@value
class StepOutput:
    """Outputs after the step that reached `position`. Arrays are (k,), for `vector` (V,), for `hidden` (R,) float32."""

    position: int
    best_ids: npt.NDArray[np.int64] | None = None
    best_log_probabilities: npt.NDArray[np.float32] | None = None
    best_texts: tuple[str, ...] = ()
    vector: npt.NDArray[np.float32] | None = None
    hidden: npt.NDArray[np.float32] | None = None


@value
class WriteResult:
    """Answers Write. `scores` and `token_ids` are (T,) or empty. `token_texts` go with `activations`."""

    session_id: str
    state: SessionState
    timing: Timing
    steps: tuple[StepOutput, ...] = ()
    scores: npt.NDArray[np.float32] | None = None
    token_ids: npt.NDArray[np.int64] | None = None
    repeated: bool = False
    activations: tuple[LayerActivations, ...] = ()
    token_texts: tuple[str, ...] = ()


@value
class Suggestion:
    """One suggested word with its natural log-probability over the full vocabulary."""

    text: str
    log_probability: float


@value
class SuggestResult:
    """Answers Suggest."""

    session_id: str
    state: SessionState
    timing: Timing
    suggestions: tuple[Suggestion, ...]
    prefix: str
    rebuilt: bool
    computed_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDeleted:
    """Answers DeleteSession."""

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionExport:
    """Answers ExportSession: the sealed session, and where it stood."""

    blob: bytes
    view: SessionView


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLine:
    """What an operator is told of a session. `size_bytes` is what it takes where it is. `fingerprint` is the model's,
    empty of a session in the store alone.
    """

    session_id: str
    model: str
    tier: Tier
    incarnation: int
    revision: int
    position: int
    durable_revision: int
    expires_in_seconds: float
    size_bytes: int
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentIds:
    """Answers ListResidents."""

    session_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLines:
    """Answers DescribeResidents and ListStored. `last` is the last identifier looked at, absent at the end."""

    lines: tuple[SessionLine, ...]
    last: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelServed:
    """Answers ServeModel. Not `done` when it has to be asked with something to run on, see `Hosts.serve`."""

    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRetired:
    """Answers RetireModel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCounts:
    """Answers CountSessions, by the keys of the models' contents."""

    counts: Mapping[str, int]
