"""What to generate, from protobuf to plain objects, checked for form. What depends on a model, sessions check."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gatehouse.v1 import online_pb2

from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions.operations import Features, OpenSequences, Tokens
from gatehouse_server.sessions.sampling import GREEDY, Sampling
from gatehouse_server.transport.fields import (
    check_model,
    check_name,
    check_session_id,
    check_text,
    decode_features,
    decode_tokens,
)

DEFAULT_STEPS = 32
MAX_STOP_IDS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationLimits:
    """Bounds of one call. A prompt is at most as long as a write."""

    max_text_bytes: int = 65_536
    max_write_steps: int = 4096
    max_steps: int = 1024
    max_alternatives: int = 16


def decode_generation(
    request: online_pb2.GenerateRequest, limits: GenerationLimits
) -> tuple[OpenSequences, Sampling]:
    """What to continue, and how to draw. Raises InvalidInput."""
    session_id = request.session_id or None
    if session_id is None:
        check_model(request.model)
    else:
        check_session_id(session_id)
        check_name(request.model, "model")
    incarnation, revision = _revision(request)
    operation = OpenSequences(
        session_id=session_id,
        model=request.model or None,
        prompt=_prompt(request, limits),
        initial=_initial(request),
        stop_ids=_stop_ids(request),
        count=_count(request, "alternatives", 1, limits.max_alternatives),
        max_steps=_count(request, "max_steps", min(DEFAULT_STEPS, limits.max_steps), limits.max_steps),
        advance=request.advance,
        incarnation=incarnation,
        revision=revision,
    )
    if request.advance and (session_id is None or operation.count > 1):
        raise InvalidInput.of_field(
            "advance",
            "expected a session to move along, got none"
            if session_id is None
            else f"expected one alternative to move the session along, got {operation.count}",
        )
    return operation, _sampling(request.sampling) if request.HasField("sampling") else GREEDY


def _revision(request: online_pb2.GenerateRequest) -> tuple[int | None, int | None]:
    if not request.HasField("revision") and not request.HasField("incarnation"):
        return None, None
    for field in ("incarnation", "revision"):
        if not request.advance:
            raise InvalidInput.of_field(field, "expected none without `advance`: nothing is written")
        if not request.HasField(field):
            raise InvalidInput.of_field(field, "incarnation and revision are required together, got none")
    if request.revision < 1:
        raise InvalidInput.of_field(
            "revision", f"expected at least 1, the session's + 1, got {request.revision}"
        )
    return request.incarnation, request.revision


def _prompt(request: online_pb2.GenerateRequest, limits: GenerationLimits) -> Tokens | Features | str | None:
    kind = request.WhichOneof("prompt")
    if kind == "tokens":
        return decode_tokens(request.tokens.ids, limits.max_write_steps)
    if kind == "text":
        if not request.text:
            raise InvalidInput.of_field("text", "expected at least one token, got none", reason="EMPTY_INPUT")
        check_text(request.text, "text", limits.max_text_bytes)
        return request.text
    if kind == "features":
        return decode_features(request.features.width, request.features.values, "features")
    return None


def _initial(request: online_pb2.GenerateRequest) -> Features | None:
    if not request.HasField("initial"):
        return None
    if request.session_id:
        raise InvalidInput.of_field("initial", "expected none with a session, which has its state")
    vectors = decode_features(request.initial.width, request.initial.values, "initial")
    if len(vectors) != 1:
        raise InvalidInput.of_field(
            "initial.values", f"expected one vector, got {len(vectors)}", reason="WRONG_WIDTH"
        )
    return vectors


def _stop_ids(request: online_pb2.GenerateRequest) -> tuple[int, ...]:
    if len(request.stop_ids) > MAX_STOP_IDS:
        raise InvalidInput.of_field(
            "stop_ids",
            f"expected at most {MAX_STOP_IDS} ids, got {len(request.stop_ids)}",
            reason="INPUT_TOO_LONG",
        )
    return tuple(request.stop_ids)


def _count(request: online_pb2.GenerateRequest, field: str, default: int, most: int) -> int:
    given: int = getattr(request, field) if request.HasField(field) else default  # type: ignore[arg-type]
    if not 1 <= given <= most:
        raise InvalidInput.of_field(field, f"expected 1 to {most}, got {given}")
    return given


def _sampling(sampling: online_pb2.Sampling) -> Sampling:
    temperature = sampling.temperature if sampling.HasField("temperature") else 1.0
    if not (math.isfinite(temperature) and temperature >= 0):
        raise InvalidInput.of_field(
            "sampling.temperature", f"expected a finite number of at least 0, got {temperature:g}"
        )
    top_k = sampling.top_k if sampling.HasField("top_k") else None
    if top_k is not None and top_k < 1:
        raise InvalidInput.of_field("sampling.top_k", f"expected at least 1, got {top_k}")
    top_p = sampling.top_p if sampling.HasField("top_p") else 1.0
    if not 0 < top_p <= 1:
        raise InvalidInput.of_field("sampling.top_p", f"expected more than 0 and at most 1, got {top_p:g}")
    return Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=sampling.seed if sampling.HasField("seed") else None,
    )
