"""What the operations on sequences of a generation answer: plain objects for whoever drives it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.value import value
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.results import Timing
from gatehouse_server.sessions.tape import Inputs


@value
class Standing:
    """The session that sequences went on from: the life, and the revision that a write there makes."""

    session_id: str
    incarnation: int
    revision: int


@value
class OpenedSequences:
    """Answers OpenSequences: the sequences, all in one state, and what comes next in it.

    `position` is how many steps stand before; `prompt` are those of them that the request brought, as the model took
    them. `context` are the last tokens before the next one, of the tape and of the prompt. `output` is the model's at
    this point: (V,) log-probabilities, or the (O,) values of a regression.
    """

    sequence_ids: tuple[str, ...]
    model: HostedModel
    position: int
    prompt: Inputs
    context: tuple[int, ...]
    output: npt.NDArray[np.float32]
    standing: Standing | None
    timing: Timing


@value
class SequenceOutput:
    """Answers StepSequence: the model's output after the step."""

    output: npt.NDArray[np.float32]


@value
class SequenceClosed:
    """Answers CloseSequence."""
