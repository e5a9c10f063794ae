"""How the server is, at a glance: for `AdminService.GetStatus`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gatehouse.v1 import admin_pb2

from gatehouse_server.telemetry.recent import RecentActivity
from gatehouse_server.transport.durations import fill_duration, fill_timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLine:
    """A model: `ready`, `leaving` or `failed`."""

    key: str
    status: str
    fingerprint: str = ""
    sessions: int = 0
    memory_bytes: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """See `GetStatusResponse` of the contract. `serving_since_unix_seconds` is absent until it serves."""

    version: str
    device: str
    phase: str
    serving_since_unix_seconds: float | None
    problems: Mapping[str, str]
    warnings: Mapping[str, str]
    recent: RecentActivity
    queued: int
    queued_documents: int
    queue_capacity: int
    open_calls: int
    live_sessions: int
    live_sessions_capacity: int
    packed_sessions: int
    stored_sessions: int
    sessions_capacity: int
    session_bytes: int
    store_kind: str
    durability: str
    unsaved_sessions: int
    lag_seconds: float
    models: tuple[ModelLine, ...]


_PLAIN = (
    *("version", "device", "phase", "queued", "queued_documents", "queue_capacity", "open_calls"),
    *(
        "live_sessions",
        "live_sessions_capacity",
        "packed_sessions",
        "stored_sessions",
        "sessions_capacity",
        "session_bytes",
    ),
)
_PLAIN_RECENT = ("steps_per_second", "documents_per_second", "batch_sessions", "batch_documents")
_PLAIN_MODEL = ("status", "fingerprint", "sessions", "memory_bytes", "problem")


def status_message(status: ServerStatus) -> admin_pb2.GetStatusResponse:
    """The status as a message."""
    response = admin_pb2.GetStatusResponse(
        problems=status.problems,
        warnings=status.warnings,
        store=admin_pb2.StoreStatus(
            kind=status.store_kind, durability=status.durability, unsaved_sessions=status.unsaved_sessions
        ),
    )
    for name in _PLAIN:
        setattr(response, name, getattr(status, name))
    for name in _PLAIN_RECENT:
        setattr(response, name, getattr(status.recent, name))
    if status.serving_since_unix_seconds is not None:
        fill_timestamp(response.serving_since, status.serving_since_unix_seconds)
    fill_duration(response.window, status.recent.window_seconds)
    fill_duration(response.store.lag, status.lag_seconds)
    for each in status.recent.operations:
        operation = response.operations.add(
            operation=each.operation,
            per_second=each.per_second,
            failed_per_second=each.failed_per_second,
        )
        fill_duration(operation.p50, each.p50_seconds)
        fill_duration(operation.p99, each.p99_seconds)
    for model in status.models:
        line = response.models.add(model=model.key)
        for name in _PLAIN_MODEL:
            setattr(line, name, getattr(model, name))
    return response
