"""Protobuf messages to the plain values of `gatehouse.results` and `gatehouse.models`."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from google.protobuf.duration_pb2 import Duration

from gatehouse import failures
from gatehouse.models import FeatureInput, Model, ParameterMatrix, TokenInput
from gatehouse.results import (
    Candidate,
    Classification,
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
from gatehouse.v1 import admin_pb2, model_pb2, offline_pb2, online_pb2, session_pb2

_TIERS: Mapping[int, Tier] = MappingProxyType(
    {
        admin_pb2.SESSION_TIER_LIVE: "live",
        admin_pb2.SESSION_TIER_HOST: "host",
        admin_pb2.SESSION_TIER_STORE: "store",
    }
)


def session_state(message: session_pb2.SessionState) -> SessionState:
    """Where a session stands."""
    expires = message.expire_time
    return SessionState(
        incarnation=message.incarnation,
        revision=message.revision,
        position=message.position,
        oldest_restorable_position=message.oldest_restorable_position,
        durable_revision=message.durable_revision,
        expire_time=datetime.fromtimestamp(expires.seconds + expires.nanos * 1e-9, UTC)
        if message.HasField("expire_time")
        else None,
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
        timing=_timing(message.timing),
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
        timing=_timing(message.timing),
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


def classification(message: offline_pb2.DocumentResult) -> Classification:
    """What became of a document."""
    if message.HasField("status"):
        return Classification(id=message.document_id, error=failures.from_status(message.status))
    return Classification(
        id=message.document_id,
        scores=tuple(LabelScore(label=entry.label, score=entry.score) for entry in message.scores),
        step_count=message.step_count,
        truncated=message.truncated,
        timing=_timing(message.timing),
    )


def model(message: model_pb2.Model) -> Model:
    """A model, ready or not."""
    return Model(
        name=message.name,
        version=message.version,
        ready=message.status == model_pb2.MODEL_STATUS_READY,
        failure=message.failure,
        task=message.task,
        description=message.description,
        online=message.online,
        cell=message.cell,
        layers=message.layers,
        hidden_size=message.hidden_size,
        projection_size=message.projection_size,
        bidirectional=message.bidirectional,
        merge=message.merge,
        pooling=tuple(message.pooling),
        tokens=_token_input(message.tokens) if message.HasField("tokens") else None,
        features=FeatureInput(size=message.features.size, names=tuple(message.features.names))
        if message.HasField("features")
        else None,
        labels=tuple(message.labels),
        parameters=tuple(
            ParameterMatrix(
                name=entry.name, shape=tuple(entry.shape), count=entry.count, formula=entry.formula
            )
            for entry in message.parameters
        ),
        parameter_count=message.parameter_count,
        fingerprint=message.fingerprint,
        memory_bytes=message.memory_bytes,
        state_bytes=message.state_bytes,
        load_seconds=_seconds(message.load_duration),
        card=message.card,
        arithmetic=message.arithmetic,
        reproducible=message.reproducible,
    )


def _token_input(message: model_pb2.TokenInput) -> TokenInput:
    return TokenInput(
        vocabulary_size=message.vocabulary_size,
        unknown_id=message.unknown_id if message.HasField("unknown_id") else None,
        start_id=message.start_id if message.HasField("start_id") else None,
        end_id=message.end_id if message.HasField("end_id") else None,
        accepts_text=message.accepts_text,
    )


def _step_output(message: online_pb2.StepOutput) -> StepOutput:
    ids, vector = message.best_ids[:], message.vector
    # The server may leave texts out where a token or label has none.
    texts = message.best_texts[:] or [""] * len(ids)
    return StepOutput(
        position=message.position,
        best=tuple(map(Candidate._make, zip(ids, texts, message.best_log_probabilities[:], strict=True))),
        vector=_floats(vector) if vector else None,
    )


def _floats(packed: bytes) -> memoryview[float]:
    if sys.byteorder == "big":
        swapped = array("f", packed)
        swapped.byteswap()
        packed = swapped.tobytes()
    return memoryview(packed).cast("f")


def _timing(message: online_pb2.Timing) -> Timing:
    return Timing(queue_seconds=_seconds(message.queue), compute_seconds=_seconds(message.compute))


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos * 1e-9
