"""Operations of streams from protobuf to plain objects, checked for form. What depends on a model, sessions check.

By hand, because it runs once for each operation. Every refusal names the field, its value and what is
allowed; paths are relative to the message that is decoded.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NoReturn

from gatehouse.v1 import online_pb2

from gatehouse_server.errors import FieldViolation, GatehouseError, InvalidInput
from gatehouse_server.sessions.operations import (
    Features,
    OutputRequest,
    RefusedWrite,
    Suggest,
    Tokens,
    Write,
)
from gatehouse_server.transport.durations import positive_seconds
from gatehouse_server.transport.fields import (
    check_k,
    check_name,
    check_position,
    check_session_id,
    check_text,
    decode_features,
    decode_tokens,
    decode_words,
)
from gatehouse_server.transport.output_sizes import LargeOutputs, may_be_large

DEFAULT_WORDS = 3
DEFAULT_MAX_TEXT_BYTES = 65_536
DEFAULT_MAX_WRITE_STEPS = 4096

_NO_OUTPUTS = OutputRequest()


def decode_write(write: online_pb2.SessionWrite, *, max_text_bytes: int, max_write_steps: int) -> Write:
    """A write; its outputs are LargeOutputs where their size has to be looked at. Raises InvalidInput."""
    session_id = write.session_id
    check_session_id(session_id)
    # Only 0 may stand for an absent field, and asking costs more than reading.
    incarnation: int | None = write.incarnation
    if not incarnation and not write.HasField("incarnation"):
        incarnation = None
    revision: int | None = write.revision
    if not revision and not write.HasField("revision"):
        revision = None
    at: int | None = write.at
    if not at and not write.HasField("at"):
        at = None
    if at is not None and at < 0:
        check_position(at)
    if revision is not None and (revision < 1 or incarnation is None or at is None):
        _refuse_revision(revision, incarnation, at)
    return Write(
        session_id=session_id,
        incarnation=incarnation,
        revision=revision,
        at=at,
        inputs=_inputs(write, at, max_text_bytes, max_write_steps),
        outputs=_outputs(write.outputs) if write.HasField("outputs") else _NO_OUTPUTS,
    )


def decode_suggestion(suggestion: online_pb2.TextSuggestion, *, max_text_bytes: int) -> Suggest:
    """A suggestion. Raises InvalidInput."""
    session_id = suggestion.session_id or None
    if session_id is not None:
        check_session_id(session_id)
    k = suggestion.k if suggestion.HasField("k") else DEFAULT_WORDS
    check_k(k, "k")
    check_name(suggestion.model, "model")
    check_text(suggestion.text, "text", max_text_bytes)
    return Suggest(
        session_id=session_id,
        model=suggestion.model or None,
        text=suggestion.text,
        k=k,
        exclude=decode_words(suggestion.exclude, "exclude", max_text_bytes),
        extra_words=decode_words(suggestion.extra_words, "extra_words", max_text_bytes),
    )


def refused_write(write: online_pb2.SessionWrite, error: GatehouseError) -> RefusedWrite:
    """A write that could not be decoded, to be answered in its session's order."""
    return RefusedWrite(
        session_id=write.session_id,
        incarnation=write.incarnation if write.HasField("incarnation") else None,
        revision=write.revision if write.HasField("revision") else None,
        error=error,
    )


def decode_timeout(message: online_pb2.SessionWrite | online_pb2.TextSuggestion) -> float | None:
    """After how many seconds an operation is given up. Raises InvalidInput unless it is positive."""
    return positive_seconds(message.timeout, "timeout") if message.HasField("timeout") else None


def _refuse_revision(revision: int, incarnation: int | None, at: int | None) -> NoReturn:
    violations = []
    if revision < 1:
        violations.append(
            FieldViolation(
                field="revision", description=f"expected at least 1, the session's + 1, got {revision}"
            )
        )
    if incarnation is None:
        violations.append(
            FieldViolation(field="incarnation", description="required together with `revision`, got none")
        )
    if at is None:
        violations.append(
            FieldViolation(field="at", description="required together with `revision`, got none")
        )
    raise InvalidInput(
        "; ".join(f"{violation.field}: {violation.description}" for violation in violations),
        violations=tuple(violations),
    )


def _inputs(
    write: online_pb2.SessionWrite, at: int | None, max_text_bytes: int, max_write_steps: int
) -> Tokens | Features | str | None:
    kind = write.WhichOneof("inputs")
    if kind == "tokens":
        return decode_tokens(write.tokens.ids, max_write_steps)
    if kind == "text":
        text = write.text
        if not text:
            raise InvalidInput.of_field("text", "expected at least one token, got none", reason="EMPTY_INPUT")
        check_text(text, "text", max_text_bytes)
        return text
    if kind == "features":
        return decode_features(write.features.width, write.features.values, "features")
    if at is None:
        raise InvalidInput.of_field(
            "inputs",
            "nothing to write: give tokens, text or features, or `at` to move",
            reason="EMPTY_INPUT",
        )
    return None


def _outputs(outputs: online_pb2.OutputOptions) -> OutputRequest:
    k: int | None = outputs.k
    if not k and not outputs.HasField("k"):
        k = None
    return _output_request(
        k, outputs.steps, outputs.scores, outputs.vector, outputs.hidden, outputs.activations
    )


@lru_cache(maxsize=256)  # clients ask for the same again and again
def _output_request(
    k: int | None, steps: int, scores: bool, vector: bool, hidden: bool, activations: bool
) -> OutputRequest:
    if k is not None:
        check_k(k, "outputs.k")
    if steps not in (
        online_pb2.OUTPUT_STEPS_UNSPECIFIED,
        online_pb2.OUTPUT_STEPS_LAST,
        online_pb2.OUTPUT_STEPS_EVERY,
    ):
        raise InvalidInput.of_field(
            "outputs.steps", f"expected OUTPUT_STEPS_LAST or OUTPUT_STEPS_EVERY, got {steps}"
        )
    outputs = OutputRequest(
        k=k,
        every_step=steps == online_pb2.OUTPUT_STEPS_EVERY,
        scores=scores,
        vector=vector,
        hidden=hidden,
        activations=activations,
    )
    return LargeOutputs(*outputs) if may_be_large(outputs) else outputs
