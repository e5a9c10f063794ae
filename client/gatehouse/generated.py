"""What generations are asked for and answer, without any I/O: what both twins share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from gatehouse import decoding, requests
from gatehouse.floats import floats
from gatehouse.results import SessionState
from gatehouse.v1 import online_pb2

EndReason = Literal["stop", "length", "unknown"]

_REASONS: Mapping[int, EndReason] = MappingProxyType(
    {
        online_pb2.GENERATION_END_REASON_STOP: "stop",
        online_pb2.GENERATION_END_REASON_LENGTH: "length",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedStep:
    """One step of a continuation.

    `alternative` tells which, from 0; `position` where it stands on the tape, from 0. Of a language model it has the
    token, the text by which it lengthens the continuation (blanks included) and its natural log-probability by the
    model itself. Of a regression it has its values, as `StepOutput.vector`.
    """

    alternative: int
    position: int
    token_id: int | None
    text: str
    log_probability: float
    vector: memoryview[float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationEnd:
    """The end of a continuation: `stop` when a token that ends it was drawn, `length` when it has all its steps;
    `unknown` when the server is newer than this client. `log_probability` is the sum of its tokens', the one that ended
    it included.
    """

    alternative: int
    reason: EndReason
    log_probability: float


class Continuations:
    """What came of a generation so far."""

    def __init__(self, count: int) -> None:
        self._pieces: list[list[str]] = [[] for _ in range(count)]
        self._ends: dict[int, GenerationEnd] = {}
        self.state: SessionState | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of each continuation so far."""
        return tuple("".join(pieces) for pieces in self._pieces)

    @property
    def ends(self) -> tuple[GenerationEnd, ...]:
        """The continuations that have ended, by their numbers."""
        return tuple(self._ends[alternative] for alternative in sorted(self._ends))

    def take(self, response: online_pb2.GenerateResponse) -> Iterator[GeneratedStep]:
        """Takes a message; its steps."""
        for end in response.ends:
            self._ends[end.alternative] = GenerationEnd(
                alternative=end.alternative,
                reason=_REASONS.get(end.reason, "unknown"),
                log_probability=end.log_probability,
            )
        if response.HasField("state"):
            self.state = decoding.session_state(response.state)
        for step in response.steps:
            self._pieces[step.alternative].append(step.text)
            yield GeneratedStep(
                alternative=step.alternative,
                position=step.position,
                token_id=step.token_id if step.HasField("token_id") else None,
                text=step.text,
                log_probability=step.log_probability,
                vector=floats(step.vector) if step.vector else None,
            )


def generate_request(
    *,
    text: str | None,
    tokens: Sequence[int] | None,
    features: requests.Features | None,
    model: str | None,
    session: str | None,
    initial: requests.Features | None,
    max_steps: int | None,
    alternatives: int,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    seed: int | None,
    stop_ids: Iterable[int],
    advance: bool,
    incarnation: int | None,
    revision: int | None,
) -> online_pb2.GenerateRequest:
    """What to generate. TypeError when more than one kind of prompt is given."""
    if sum(entry is not None for entry in (text, tokens, features)) > 1:
        raise TypeError("give at most one of text, tokens and features")
    request = online_pb2.GenerateRequest(
        session_id=session or "",
        model=model or "",
        max_steps=max_steps,
        stop_ids=stop_ids,
        alternatives=alternatives,
        advance=advance,
        incarnation=incarnation,
        revision=revision,
    )
    if text is not None:
        request.text = text
    elif tokens is not None:
        request.tokens.SetInParent()  # even without any token it is tokens that are given
        request.tokens.ids.extend(tokens)
    elif features is not None:
        request.features.CopyFrom(requests.feature_sequence(features))
    if initial is not None:
        request.initial.CopyFrom(requests.feature_sequence(initial))
    if any(option is not None for option in (temperature, top_k, top_p, seed)):
        request.sampling.CopyFrom(
            online_pb2.Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        )
    return request
