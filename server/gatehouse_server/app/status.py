"""How the server is, put together from what its parts know. Asks the engine nothing: a stuck one is told of, too."""

from __future__ import annotations

from dataclasses import dataclass

from gatehouse_server.app.readiness import Readiness
from gatehouse_server.engine.observer import EngineGauges
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.lane import SessionLane
from gatehouse_server.settings import Settings
from gatehouse_server.telemetry.metrics import Metrics
from gatehouse_server.telemetry.recent import Recent
from gatehouse_server.telemetry.server_metrics import ServerMetrics
from gatehouse_server.transport.server_status import ModelLine, ServerStatus

_NOTHING = EngineGauges(
    live_sessions=0,
    packed_sessions=0,
    stored_sessions=0,
    sessions_by_model={},
    state_bytes=0,
    packed_bytes=0,
    unsaved_sessions=0,
    lag_seconds=0.0,
)
"""Before the engine's first turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSource:
    """Whom to ask. `store_kind` is `memory`, `sqlite` or `redis`."""

    settings: Settings
    version: str
    device: str
    store_kind: str
    readiness: Readiness
    server: ServerMetrics
    metrics: Metrics
    recent: Recent
    sessions: SessionLane
    registry: Registry

    def status(self) -> ServerStatus:
        """How the server is now."""
        settings, gauges = self.settings, self.metrics.engine.present or _NOTHING
        queued = self.metrics.engine.queue_depth()
        return ServerStatus(
            version=self.version,
            device=self.device,
            phase=self.readiness.phase.value,
            serving_since_unix_seconds=self.server.serving_since_unix_seconds,
            problems=self.readiness.unready(),
            warnings=self.readiness.warnings(),
            recent=self.recent.activity(),
            queued=queued["online"],
            queued_documents=queued["offline"],
            queue_capacity=settings.max_queued_operations,
            open_calls=self.metrics.requests.in_flight,
            live_sessions=gauges.live_sessions,
            live_sessions_capacity=settings.max_live_sessions,
            packed_sessions=gauges.packed_sessions,
            stored_sessions=gauges.stored_sessions,
            sessions_capacity=settings.max_sessions,
            session_bytes=gauges.state_bytes + gauges.packed_bytes,
            store_kind=self.store_kind,
            durability=self.sessions.durability,
            unsaved_sessions=gauges.unsaved_sessions,
            lag_seconds=gauges.lag_seconds,
            models=self._models(),
        )

    def _models(self) -> tuple[ModelLine, ...]:
        counts = self.sessions.counts()

        def line(model: LoadedModel, status: str) -> ModelLine:
            sessions = sum(
                amount
                for (key, fingerprint), amount in counts.items()
                if key == model.key and fingerprint.partition("+")[0] == model.fingerprint
            )
            return ModelLine(
                key=model.key,
                status=status,
                fingerprint=model.fingerprint,
                sessions=sessions,
                memory_bytes=model.memory_bytes,
            )

        return (
            *(line(model, "ready") for model in self.registry.models),
            *(line(model, "leaving") for model in self.registry.leaving),
            *(
                ModelLine(key=failure.key, status="failed", problem=failure.problem)
                for failure in self.registry.failed
            ),
        )
