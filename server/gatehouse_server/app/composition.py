"""Builds the server from its settings: models, engine, services, each handed what it needs and no more."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import secrets
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch

from gatehouse_server.app.failure import CannotStartError
from gatehouse_server.app.model_loading import loading, tell_change
from gatehouse_server.app.readiness import Readiness
from gatehouse_server.app.status import StatusSource
from gatehouse_server.app.storing import kind_of
from gatehouse_server.engine.bucketing import OfflineBatching
from gatehouse_server.engine.documents import DocumentTask
from gatehouse_server.engine.loop import Answers, Engine, Lane, deliver_to_sinks
from gatehouse_server.engine.offline import OfflineLane
from gatehouse_server.engine.pacing import Pacing
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.incarnations import Incarnations
from gatehouse_server.sessions.keeping import Keeping
from gatehouse_server.sessions.lane import SessionLane
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.settings import Settings
from gatehouse_server.stores.port import SessionStore
from gatehouse_server.stores.worker import StoreWorker
from gatehouse_server.telemetry.metrics import Metrics
from gatehouse_server.telemetry.recent import Recent
from gatehouse_server.telemetry.server_metrics import ServerMetrics
from gatehouse_server.transport.admin import AdminServicer
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.document_services import DocumentLimits, Services
from gatehouse_server.transport.generation_decoding import GenerationLimits
from gatehouse_server.transport.health import Health
from gatehouse_server.transport.model_change import CHANGES, ModelChange
from gatehouse_server.transport.model_changes import ModelChanges
from gatehouse_server.transport.models import ModelServicer
from gatehouse_server.transport.offline import OfflineServicer
from gatehouse_server.transport.online import OnlineServicer
from gatehouse_server.transport.online_stream import StreamLimits
from gatehouse_server.transport.output_sizes import OutputSizes
from gatehouse_server.transport.replies import ask
from gatehouse_server.transport.server import ADMIN_SERVICES, SERVICES, AdminServicers, Servicers

_SWITCH_INTERVAL_SECONDS = 0.001
_BATCH_DOCUMENTS = {"cpu": 128, "cuda": 1024}
"""Most documents in a batch. A GPU takes little longer for a step of a thousand rows than for one of a hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What the settings ask for, not yet started."""

    registry: Registry
    engine: Engine
    servicers: Servicers
    admin_servicers: AdminServicers
    changes: ModelChanges
    executor: ThreadPoolExecutor
    sessions: SessionLane
    worker: StoreWorker | None
    recent: Recent

    @property
    def healths(self) -> tuple[Health, ...]:
        """What health checks are told, on either gRPC port."""
        return self.servicers.health, self.admin_servicers.health


def choose_device(settings: Settings) -> str:
    """`cpu` or `cuda`. Raises CannotStartError when there is no such device."""
    if settings.device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if settings.device == "cuda":
        raise CannotStartError("--device cuda: torch finds no CUDA device here. Use --device cpu, or auto")
    return "cpu"


def choose_batching(settings: Settings, device: str) -> OfflineBatching:
    """How documents are batched on `cpu` or `cuda`."""
    return OfflineBatching(batch_tokens=settings.batch_tokens, max_batch_documents=_BATCH_DOCUMENTS[device])


def build(
    settings: Settings,
    registry: Registry,
    device: str,
    store: SessionStore | None,
    metrics: Metrics,
    departure: Departure,
    readiness: Readiness,
    server_metrics: ServerMetrics,
) -> Built:
    """Puts the parts together. Has to be called on the event loop that will serve."""
    loop = asyncio.get_running_loop()

    def deliver(answers: Answers) -> None:
        loop.call_soon_threadsafe(deliver_to_sinks, answers)

    pacing = Pacing(target_seconds=settings.online_latency_target_ms / 1000, clock=time.monotonic)
    incarnations = Incarnations()
    worker = None
    if store is not None:
        worker = StoreWorker(
            store,
            owner=secrets.token_hex(8),
            done=lambda: engine.wake(),
            told_seconds=metrics.engine.store_call,
            new_incarnation=incarnations,
        )
    sessions = SessionLane(
        registry=registry,
        limits=_session_limits(settings),
        batching=OnlineBatching(
            max_sessions_per_tick=settings.max_sessions_per_tick,
            chunk_steps=settings.chunk_steps,
            shared_seconds=settings.online_latency_target_ms / 1000,
        ),
        observer=metrics.engine,
        worker=worker,
        keeping=Keeping(
            durability="none" if store is None else settings.durability,
            interval_seconds=settings.store_interval_seconds,
            max_lag_seconds=settings.max_store_lag_seconds,
            keeps_tapes=settings.store_tokens,
        ),
        incarnations=incarnations,
        secret=None if store is None else store.secret,
        export_key=settings.export_key.encode() or None,
        ran=pacing.online_ran,
        backend_of=partial(
            TorchOnlineBackend, threads=settings.threads, most_rows=settings.max_sessions_per_tick
        ),
        model_left=lambda model: _soon(loop, changes.sessions_left, model),
    )
    networks = {model.content_key: model.transducer or model.network for model in registry.models}
    documents = OfflineLane(
        networks=networks,
        batching=choose_batching(settings, device),
        observer=metrics.engine,
        slice_seconds=pacing.slice_seconds,
    )
    lanes: dict[type, Lane] = dict.fromkeys(SessionLane.operations, sessions)
    lanes[DocumentTask] = documents
    engine = Engine(
        lanes=lanes,
        observer=metrics.engine,
        deliver=deliver,
        max_queued=settings.max_queued_operations,
    )
    metrics.engine.queue_depth = lambda: {
        "online": engine.unanswered_by(sessions),
        "offline": engine.unanswered_by(documents),
    }
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gatehouse-text")
    services = Services(
        engine=engine,
        observer=metrics.engine,
        metrics=metrics.requests,
        executor=executor,
        limits=DocumentLimits(
            max_document_steps=settings.max_document_steps,
            max_document_bytes=settings.max_document_bytes,
            max_output_bytes=settings.max_document_output_bytes,
            max_output_steps=settings.max_output_steps,
            max_beam_size=settings.max_beam_size,
            max_in_flight=settings.max_documents_in_flight_per_stream,
        ),
    )
    online = OnlineServicer(
        engine=engine,
        observer=metrics.engine,
        metrics=metrics.requests,
        departure=departure,
        limits=StreamLimits(
            max_text_bytes=settings.max_text_bytes,
            max_write_steps=settings.max_write_steps,
            max_unanswered_per_session=settings.recent_writes,
            max_unanswered=settings.max_operations_in_flight_per_stream,
        ),
        sizes=OutputSizes(registry, max_bytes=_session_limits(settings).max_output_bytes),
        generation_limits=GenerationLimits(
            max_text_bytes=settings.max_text_bytes,
            max_write_steps=settings.max_write_steps,
            max_steps=settings.max_generated_steps,
            max_alternatives=min(settings.max_alternatives, settings.max_continuations),
        ),
    )
    servicers = Servicers(
        online=online,
        offline=OfflineServicer(registry=registry, services=services, departure=departure),
        models=ModelServicer(registry, recent_writes=settings.recent_writes),
        health=Health(services=SERVICES, registry=registry),
    )
    admin_health = Health(services=ADMIN_SERVICES, registry=registry)
    model_metrics = metrics.add_models(registry, CHANGES)

    def told(change: ModelChange) -> None:
        model_metrics.changed(change.change)
        tell_change(change)

    changes = ModelChanges(
        registry=registry,
        networks=networks,
        loading=loading(settings, device, sessions),
        required=settings.require_models,
        ask=partial(ask, engine, metrics.engine, remaining_seconds=None),
        followers=(servicers.health, admin_health),
        told=told,
        left=metrics.engine.forget,
        wake=engine.wake,
    )
    recent = Recent(metrics.engine, metrics.requests)
    source = StatusSource(
        settings=settings,
        version=versions()["gatehouse"],
        device=device,
        store_kind=kind_of(settings),
        readiness=readiness,
        server=server_metrics,
        metrics=metrics,
        recent=recent,
        sessions=sessions,
        registry=registry,
    )
    admin_servicers = AdminServicers(
        admin=AdminServicer(engine=engine, observer=metrics.engine, changes=changes, status=source.status),
        health=admin_health,
    )
    # The event loop and the engine share the interpreter. The engine lets go of it in each torch operation, and
    # would wait 5 ms, Python's default, for a busy event loop to give it back.
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
    # What lives as long as the server need not be looked at by each garbage collection.
    gc.collect()
    gc.freeze()
    # Operations leave no reference cycles behind, so looking for them after every 700 objects is wasted time.
    gc.set_threshold(20_000, 20, 50)
    return Built(
        registry=registry,
        engine=engine,
        servicers=servicers,
        admin_servicers=admin_servicers,
        changes=changes,
        executor=executor,
        sessions=sessions,
        worker=worker,
        recent=recent,
    )


def _soon(
    loop: asyncio.AbstractEventLoop, function: Callable[[LoadedModel], None], model: LoadedModel
) -> None:
    """Has the event loop call a function, from the engine's thread."""
    loop.call_soon_threadsafe(function, model)


def versions() -> dict[str, str]:
    """The versions of what serves."""
    try:
        own = importlib.metadata.version("gatehouse")
    except importlib.metadata.PackageNotFoundError:  # run from the sources alone
        own = "unknown"
    return {"gatehouse": own, "torch": str(torch.__version__)}


def _session_limits(settings: Settings) -> SessionLimits:
    return SessionLimits(
        max_sessions=settings.max_sessions,
        max_live_sessions=settings.max_live_sessions,
        max_resident_sessions=settings.max_resident_sessions,
        max_continuations=settings.max_continuations,
        idle_seconds=settings.session_idle_seconds,
        rest_seconds=settings.session_rest_seconds,
        recent_writes=settings.recent_writes,
        max_write_steps=settings.max_write_steps,
        max_tape_steps=settings.max_tape_steps,
    )
