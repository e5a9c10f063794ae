"""A model that sessions run on: what is needed of it to check, compute and answer their writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.initial_states import InitialStates
from gatehouse_server.engine.looking import Looker
from gatehouse_server.engine.online import OnlineEngine
from gatehouse_server.engine.rows import RowPool
from gatehouse_server.models.text import TextCodec
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import OutputRequest
from gatehouse_server.sessions.tape import FeatureTape, Tape, TokenTape

if TYPE_CHECKING:
    from gatehouse_server.sessions.outputs import Answering

TOKEN_CHECKPOINT_STEPS = 256
"""Going back by any distance computes at most this many steps again, and a state takes as much as a thousand tokens."""

FEATURE_CHECKPOINT_STEPS = 16
WRITABLE_FEATURE_STEPS = 64
"""Feature vectors are large, so of them only so many are kept as going back this far needs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostedModel:
    """An online model with its engine and its table's rows.

    `width` is V for token input, N for features. `output_size` is the head's, 0 without a head, `hidden_size` that of
    the top layer, R. `texts` are those of its outputs. `fingerprint` is the model's. `ranks` tells whether the best
    entries of its output mean anything (not of a regression), `scores_tokens` whether its outputs are predictions of
    its own input. `looker` looks inside.

    `start_id` is the token consumed before position 0, absent without one. `initial` makes the state at position 0 of a
    vector, absent where there is no layer for it. `begins_alone` tells whether the outputs at position 0 mean anything
    without either: after a start token, or in a state that was learned.

    States are kept at multiples of `checkpoint_steps`, besides the recent ones. Tapes have to remember the last
    `kept_inputs_steps`; absent for all. `answering` holds how outputs are answered that were asked for before, see
    `sessions.outputs`.
    """

    key: str
    fingerprint: str
    engine: OnlineEngine
    rows: RowPool
    limits: SessionLimits
    keeps_tokens: bool
    width: int
    output_size: int
    hidden_size: int
    looker: Looker
    ranks: bool
    scores_tokens: bool
    text: TextCodec | None
    sentence_starts_over: bool
    texts: Sequence[str]
    start_id: int | None
    initial: InitialStates | None
    begins_alone: bool
    checkpoint_steps: int = field(init=False)
    kept_inputs_steps: int | None = field(init=False)
    answering: dict[OutputRequest, Answering] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        every, kept = (
            (TOKEN_CHECKPOINT_STEPS, None)
            if self.keeps_tokens
            else (FEATURE_CHECKPOINT_STEPS, WRITABLE_FEATURE_STEPS)
        )
        object.__setattr__(self, "checkpoint_steps", every)
        object.__setattr__(self, "kept_inputs_steps", kept)

    @property
    def name(self) -> str:
        """The model's name without its version."""
        return self.key.partition("@")[0]

    @property
    def forecasts(self) -> bool:
        """Whether it is a regression whose outputs are its next inputs."""
        return not self.keeps_tokens and not self.ranks and self.output_size == self.width

    @property
    def takes(self) -> str:
        """What a step of the model is, for messages."""
        return "token ids or text" if self.keeps_tokens else f"feature vectors of {self.width} values"

    @property
    def tape_type(self) -> type[TokenTape | FeatureTape]:
        """The kind of its sessions' tapes."""
        return TokenTape if self.keeps_tokens else FeatureTape

    def new_tape(self) -> Tape:
        """A tape without steps."""
        return TokenTape() if self.keeps_tokens else FeatureTape(self.width)

    def no_steps(self) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """Inputs of a job that only looks at a state."""
        if self.keeps_tokens:
            return np.empty(0, dtype=np.int64)
        return np.empty((0, self.width), dtype=np.float32)
