"""What a generation makes of a model's outputs: the next tokens or values, their texts, and when to stop. No I/O."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from hashlib import blake2b
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.value import value
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.running_text import RunningText
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.opened_sequences import OpenedSequences, Standing
from gatehouse_server.sessions.operations import OpenSequences, Write
from gatehouse_server.sessions.sampling import Sampler, Sampling
from gatehouse_server.sessions.tape import Inputs

Output = npt.NDArray[np.float32]
EndReason = Literal["stop", "length"]


@value
class GeneratedStep:
    """One step of a continuation: a token with its text and log-probability, or the (O,) values of a regression.

    `position` is where it stands on the tape, from 0.
    """

    alternative: int
    position: int
    token_id: int | None = None
    text: str = ""
    log_probability: float = 0.0
    values: Output | None = None


@value
class GenerationEnd:
    """The end of a continuation; `log_probability` is the sum of its tokens', the one that ended it included."""

    alternative: int
    reason: EndReason
    log_probability: float


class Continuation(Protocol):
    """One continuation. `steps` are those that it has so far, as the model takes them."""

    sequence_id: str

    @property
    def end(self) -> GenerationEnd | None:
        """Absent as long as it goes on."""

    @property
    def steps(self) -> Inputs: ...

    @property
    def last(self) -> Inputs:
        """The last of the steps."""

    def take(self, output: Output) -> GeneratedStep | None:
        """Takes the model's output and makes the next step of it; none when it ended with that."""


def continuations_of(
    opened: OpenedSequences, request: OpenSequences, sampling: Sampling
) -> tuple[Continuation, ...]:
    """The continuations that a request asks for. Raises InvalidInput when no token may be drawn."""
    model = opened.model
    if not model.scores_tokens:
        return tuple(
            ForecastContinuation(
                alternative, sequence_id, position=opened.position, max_steps=request.max_steps
            )
            for alternative, sequence_id in enumerate(opened.sequence_ids)
        )
    seed = _seed(sampling, opened.standing if request.revision is not None else None)
    end_id = None if model.text is None else model.text.end_id
    stops = frozenset(request.stop_ids) | ({end_id} - {None})
    barred = _barred(model, stops)
    spelt = request.prompt if isinstance(request.prompt, str) else None
    return tuple(
        TokenContinuation(
            alternative,
            sequence_id,
            position=opened.position,
            max_steps=request.max_steps,
            sampler=Sampler(sampling, seed=seed, alternative=alternative),
            text=None if model.text is None else model.text.running_text(opened.context, spelt),
            barred=barred,
            stops=stops,
        )
        for alternative, sequence_id in enumerate(opened.sequence_ids)
    )


class TokenContinuation:
    """Of a language model: tokens, each drawn and consumed."""

    def __init__(
        self,
        alternative: int,
        sequence_id: str,
        *,
        position: int,
        max_steps: int,
        sampler: Sampler,
        text: RunningText | None,
        barred: npt.NDArray[np.int64],
        stops: Iterable[int | None],
    ) -> None:
        self.sequence_id = sequence_id
        self.end: GenerationEnd | None = None
        self._alternative = alternative
        self._position = position
        self._max_steps = max_steps
        self._sampler = sampler
        self._text = text
        self._barred = barred
        self._stops = stops
        self._tokens: list[int] = []
        self._log_probability = 0.0

    @property
    def steps(self) -> Inputs:
        """(T,) int64."""
        return np.array(self._tokens, dtype=np.int64)

    @property
    def last(self) -> Inputs:
        """(1,) int64."""
        return np.array(self._tokens[-1:], dtype=np.int64)

    def take(self, output: Output) -> GeneratedStep | None:
        """See `Continuation`. `output` are (V,) natural log-probabilities."""
        if np.isnan(output).any():
            raise _not_finite()
        token = self._sampler.draw(output, self._barred)
        log_probability = float(output[token])
        self._log_probability += log_probability
        if token in self._stops:
            self.end = GenerationEnd(self._alternative, "stop", self._log_probability)
            return None
        step = GeneratedStep(
            alternative=self._alternative,
            position=self._position + len(self._tokens),
            token_id=token,
            text="" if self._text is None else self._text.lengthen(token),
            log_probability=log_probability,
        )
        self._tokens.append(token)
        if len(self._tokens) == self._max_steps:
            self.end = GenerationEnd(self._alternative, "length", self._log_probability)
        return step


class ForecastContinuation:
    """Of a regression: its values, each taken for what comes next."""

    def __init__(self, alternative: int, sequence_id: str, *, position: int, max_steps: int) -> None:
        self.sequence_id = sequence_id
        self.end: GenerationEnd | None = None
        self._alternative = alternative
        self._position = position
        self._max_steps = max_steps
        self._values: list[Output] = []

    @property
    def steps(self) -> Inputs:
        """(T, N) float32; before the first one nobody asks how wide."""
        return np.stack(self._values) if self._values else np.empty((0, 0), dtype=np.float32)

    @property
    def last(self) -> Inputs:
        """(1, N) float32."""
        return self._values[-1][None]

    def take(self, output: Output) -> GeneratedStep:
        """See `Continuation`. `output` are (O,) values."""
        if not np.isfinite(output).all():
            raise _not_finite()
        step = GeneratedStep(
            alternative=self._alternative, position=self._position + len(self._values), values=output
        )
        self._values.append(output)
        if len(self._values) == self._max_steps:
            self.end = GenerationEnd(self._alternative, "length", 0.0)
        return step


def _barred(model: HostedModel, stops: frozenset[int | None]) -> npt.NDArray[np.int64]:
    """What is never drawn: the unknown token, control tokens and blocked words, unless they end continuations."""
    never = set() if model.text is None else model.text.undrawable_ids - stops
    if len(never) >= model.width:
        raise InvalidInput.of_field(
            "model", f"{model.key} has no token that may be drawn", reason="WRONG_MODEL_KIND"
        )
    return np.array(sorted(never), dtype=np.int64)


def _seed(sampling: Sampling, standing: Standing | None) -> int:
    """The seed that was given; else one of the server's choice, for a write under a revision always the same, so that
    whoever asks again for the same revision gets the same tokens.
    """
    if sampling.seed is not None:
        return sampling.seed
    if standing is None:
        return secrets.randbits(64)
    drawn = f"{standing.revision} {standing.session_id}"
    return int.from_bytes(blake2b(drawn.encode(), digest_size=8).digest())


def _not_finite() -> InvalidInput:
    return InvalidInput(
        "the model's output became infinite or not a number, so there is nothing to go on with. Scale the inputs down",
        reason="STATE_NOT_FINITE",
    )


def write_of(opened: OpenedSequences, continuation: Continuation) -> Write:
    """What moves the session along: one write with the prompt and the continuation, none other in between."""
    standing = opened.standing
    assert standing is not None, "only what goes on from a session moves one"
    steps = _joined(opened.prompt, continuation.steps)
    return Write(
        session_id=standing.session_id,
        incarnation=standing.incarnation,
        revision=standing.revision,
        at=opened.position - len(opened.prompt),
        inputs=steps if len(steps) else None,
    )


def _joined(prompt: Inputs, steps: Inputs) -> Inputs:
    return np.concatenate((prompt, steps), dtype=prompt.dtype)  # type: ignore[return-value]  # as both are
