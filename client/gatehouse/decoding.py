"""Protobuf messages to the plain values of `gatehouse.results`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from gatehouse import activations, failures
from gatehouse.floats import floats
from gatehouse.results import (
    Candidate,
    DocumentResult,
    DocumentStep,
    LabelScore,
    SessionLine,
    SessionState,
    StepOutput,
    Suggestion,
    Suggestions,
    Tier,
    Timing,
    WriteResult,
)
from gatehouse.v1 import admin_pb2, offline_pb2, online_pb2, session_pb2

_TIERS: Mapping[int, Tier] = MappingProxyType(
    {
        admin_pb2.SESSION_TIER_LIVE: "live",
        admin_pb2.SESSION_TIER_HOST: "host",
        admin_pb2.SESSION_TIER_STORE: "store",
    }
)

_LAST_SECOND = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


def session_state(message: session_pb2.SessionState) -> SessionState:
    """Where a session stands."""
    return SessionState(
        incarnation=message.incarnation,
        revision=message.revision,
        position=message.position,
        oldest_restorable_position=message.oldest_restorable_position,
        durable_revision=message.durable_revision,
        expire_time=_time(message.expire_time) if message.HasField("expire_time") else None,
    )


def suggestions(message: online_pb2.SuggestResult) -> Suggestions:
    """The answer to a suggestion."""
    return Suggestions(
        session=message.session_id,
        suggestions=tuple(
            Suggestion(text=entry.text, log_probability=entry.log_probability)
            for entry in message.suggestions
        ),
        prefix=message.prefix,
        rebuilt=message.rebuilt,
        computed_steps=message.computed_steps,
        state=session_state(message.state),
        timing=timing(message.timing),
    )


def write_result(message: online_pb2.WriteResult) -> WriteResult:
    """The answer to a write."""
    return WriteResult(
        session=message.session_id,
        state=session_state(message.state),
        outputs=tuple([_step_output(step) for step in message.steps]),
        scores=tuple(message.scores[:]),
        token_ids=tuple(message.token_ids[:]),
        repeated=message.repeated_write,
        timing=timing(message.timing),
        activations=activations.of_layers(message.activations) if message.activations else (),
        token_texts=tuple(message.token_texts[:]) if message.activations else (),
    )


def session_line(message: admin_pb2.SessionLine) -> SessionLine:
    """What an operator is told of a session."""
    return SessionLine(
        session=message.session_id,
        model=message.model,
        tier=_TIERS.get(message.tier, "unknown"),
        state=session_state(message.state),
        size_bytes=message.size_bytes,
    )


def document_result(message: offline_pb2.DocumentResult) -> DocumentResult:
    """What became of a document."""
    if message.HasField("status"):
        return DocumentResult(id=message.document_id, error=failures.from_status(message.status))
    return DocumentResult(
        id=message.document_id,
        scores=_label_scores(message.scores),
        vector=floats(message.vector) if message.vector else None,
        hidden=floats(message.hidden) if message.hidden else None,
        log_likelihood=message.log_likelihood if message.HasField("log_likelihood") else None,
        steps=tuple([_document_step(step) for step in message.steps]),
        step_count=message.step_count,
        truncated=message.truncated,
        activations=activations.of_layers(message.activations) if message.activations else (),
        token_ids=tuple(message.token_ids[:]),
        token_texts=tuple(message.token_texts[:]),
        timing=timing(message.timing),
    )


def _document_step(message: offline_pb2.DocumentStep) -> DocumentStep:
    return DocumentStep(
        scores=_label_scores(message.scores),
        vector=floats(message.vector) if message.vector else None,
        hidden=floats(message.hidden) if message.hidden else None,
        log_probability=message.log_probability if message.HasField("log_probability") else None,
        token_id=message.token_id if message.HasField("token_id") else None,
        text_start=message.text_start,
        text_end=message.text_end,
    )


def _label_scores(messages: Iterable[offline_pb2.LabelScore]) -> tuple[LabelScore, ...]:
    return tuple([LabelScore(label=entry.label, score=entry.score) for entry in messages])


def _step_output(message: online_pb2.StepOutput) -> StepOutput:
    ids, vector, hidden = message.best_ids[:], message.vector, message.hidden
    # The server may leave texts out where a token or label has none.
    texts = message.best_texts[:] or [""] * len(ids)
    return StepOutput(
        position=message.position,
        best=tuple(map(Candidate._make, zip(ids, texts, message.best_log_probabilities[:], strict=True))),
        vector=floats(vector) if vector else None,
        hidden=floats(hidden) if hidden else None,
    )


def timing(message: online_pb2.Timing) -> Timing:
    return Timing(queue_seconds=_seconds(message.queue), compute_seconds=_seconds(message.compute))


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos * 1e-9


def _time(timestamp: Timestamp) -> datetime:
    """The last one that there is stands for all later ones: to some servers sessions live for ever."""
    return datetime.fromtimestamp(min(timestamp.seconds + timestamp.nanos * 1e-9, _LAST_SECOND), UTC)
