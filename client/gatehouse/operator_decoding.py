"""Protobuf messages of the port for operators to plain values."""

from __future__ import annotations

from datetime import UTC

from google.protobuf.duration_pb2 import Duration

from gatehouse.model_change import ModelChange
from gatehouse.server_status import ModelStatus, OperationStatus, ServerStatus, StoreStatus
from gatehouse.v1 import admin_pb2

_CHANGES = {
    admin_pb2.MODEL_CHANGE_KIND_UNCHANGED: "unchanged",
    admin_pb2.MODEL_CHANGE_KIND_LOADED: "loaded",
    admin_pb2.MODEL_CHANGE_KIND_REPLACED: "replaced",
    admin_pb2.MODEL_CHANGE_KIND_UNLOADED: "unloaded",
    admin_pb2.MODEL_CHANGE_KIND_FAILED: "failed",
    admin_pb2.MODEL_CHANGE_KIND_KEPT: "kept",
}


def model_change(message: admin_pb2.ModelChange) -> ModelChange:
    """What became of a model. What a newer server may do with it is `unknown`."""
    return ModelChange(
        model=message.model,
        change=_CHANGES.get(message.kind, "unknown"),
        fingerprint=message.fingerprint,
        problem=message.problem,
        leaving_sessions=message.leaving_sessions,
        load_seconds=_seconds(message.load_duration),
    )


def server_status(message: admin_pb2.GetStatusResponse) -> ServerStatus:
    """How a server is."""
    return ServerStatus(
        version=message.version,
        device=message.device,
        phase=message.phase,
        serving_since=message.serving_since.ToDatetime(UTC) if message.HasField("serving_since") else None,
        problems=dict(message.problems),
        warnings=dict(message.warnings),
        window_seconds=_seconds(message.window),
        steps_per_second=message.steps_per_second,
        documents_per_second=message.documents_per_second,
        batch_sessions=message.batch_sessions,
        batch_documents=message.batch_documents,
        operations=tuple(
            OperationStatus(
                operation=each.operation,
                per_second=each.per_second,
                failed_per_second=each.failed_per_second,
                p50_seconds=_seconds(each.p50),
                p99_seconds=_seconds(each.p99),
            )
            for each in message.operations
        ),
        queued=message.queued,
        queued_documents=message.queued_documents,
        queue_capacity=message.queue_capacity,
        open_calls=message.open_calls,
        live_sessions=message.live_sessions,
        live_sessions_capacity=message.live_sessions_capacity,
        packed_sessions=message.packed_sessions,
        stored_sessions=message.stored_sessions,
        sessions_capacity=message.sessions_capacity,
        session_bytes=message.session_bytes,
        store=StoreStatus(
            kind=message.store.kind,
            durability=message.store.durability,
            unsaved_sessions=message.store.unsaved_sessions,
            lag_seconds=_seconds(message.store.lag),
        ),
        models=tuple(
            ModelStatus(
                model=each.model,
                status=each.status,
                fingerprint=each.fingerprint,
                sessions=each.sessions,
                memory_bytes=each.memory_bytes,
                problem=each.problem,
            )
            for each in message.models
        ),
    )


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos * 1e-9
