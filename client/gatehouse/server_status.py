"""How a server is, at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationStatus:
    """How operations of a kind were answered lately. Half of the answers came within `p50_seconds`, 99 of 100 within
    `p99_seconds`.
    """

    operation: str
    per_second: float
    failed_per_second: float
    p50_seconds: float
    p99_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """What keeps sessions: `memory`, `sqlite` or `redis`; and how far it is behind. `durability` is `none`, `async` or
    `sync`.
    """

    kind: str
    durability: str
    unsaved_sessions: int
    lag_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """A model, `name@version`; `status` is `ready`, `leaving` or `failed`. `sessions` are those in memory."""

    model: str
    status: str
    fingerprint: str
    sessions: int
    memory_bytes: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """Rates and latencies are those of the last `window_seconds`; means of batches are 0 where there was none.

    `phase` is `loading`, `serving`, `leaving` (readiness says no, work is still taken) or `draining`. `problems` keep
    work from being sent there, `warnings` do not; both as /readyz has them.
    """

    version: str
    device: str
    phase: str
    serving_since: datetime | None
    problems: Mapping[str, str]
    warnings: Mapping[str, str]
    window_seconds: float
    steps_per_second: float
    documents_per_second: float
    batch_sessions: float
    batch_documents: float
    operations: tuple[OperationStatus, ...]
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
    store: StoreStatus
    models: tuple[ModelStatus, ...]
