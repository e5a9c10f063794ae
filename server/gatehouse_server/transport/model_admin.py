"""What became of models, for operators: `ModelChange` as a message."""

from __future__ import annotations

from gatehouse.v1 import admin_pb2

from gatehouse_server.transport.durations import fill_duration
from gatehouse_server.transport.model_change import Change, ModelChange

_KINDS: dict[Change, admin_pb2.ModelChangeKind.ValueType] = {
    "unchanged": admin_pb2.MODEL_CHANGE_KIND_UNCHANGED,
    "loaded": admin_pb2.MODEL_CHANGE_KIND_LOADED,
    "replaced": admin_pb2.MODEL_CHANGE_KIND_REPLACED,
    "unloaded": admin_pb2.MODEL_CHANGE_KIND_UNLOADED,
    "failed": admin_pb2.MODEL_CHANGE_KIND_FAILED,
    "kept": admin_pb2.MODEL_CHANGE_KIND_KEPT,
}


def fill_change(message: admin_pb2.ModelChange, change: ModelChange) -> None:
    """Writes what became of a model."""
    message.model = change.key
    message.kind = _KINDS[change.change]
    message.fingerprint = change.fingerprint
    message.problem = change.problem
    message.leaving_sessions = change.leaving_sessions
    if change.load_seconds:
        fill_duration(message.load_duration, change.load_seconds)
