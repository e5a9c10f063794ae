"""A server on a free port whose engine is played by the test: it sees each operation and decides on the
answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import grpc
import grpc.aio
import numpy as np
from gatehouse_server.engine.documents import DocumentScores
from gatehouse_server.engine.loop import Engine, deliver_to_sinks
from gatehouse_server.engine.observer import Happening, SilentObserver
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import GatehouseError
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.operations import RefusedWrite
from gatehouse_server.sessions.results import SessionState, StepOutput, Timing, WriteResult
from gatehouse_server.telemetry.metrics import Metrics
from gatehouse_server.transport.admin import AdminServicer
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.document_services import DocumentLimits, Services
from gatehouse_server.transport.generation_decoding import GenerationLimits
from gatehouse_server.transport.health import Health
from gatehouse_server.transport.interceptor import CallInterceptor
from gatehouse_server.transport.model_changes import ModelChanges
from gatehouse_server.transport.models import ModelServicer
from gatehouse_server.transport.offline import OfflineServicer
from gatehouse_server.transport.online import OnlineServicer
from gatehouse_server.transport.online_stream import StreamLimits
from gatehouse_server.transport.output_sizes import OutputSizes
from gatehouse_server.transport.server import (
    ADMIN_SERVICES,
    SERVICES,
    AdminServicers,
    Servicers,
    bind,
    build_admin_server,
    build_server,
)
from gatehouse_server.transport.server_status import ServerStatus
from google.rpc import error_details_pb2, status_pb2

from tests.transport.busy_server import STATUS

STATE = SessionState(
    incarnation=1,
    revision=2,
    position=3,
    oldest_restorable_position=0,
    durable_revision=0,
    expires_in_seconds=3600.0,
)
TIMING = Timing(queue_seconds=0.001, compute_seconds=0.002)


def write_result(session_id: str = "s", position: int = 3) -> WriteResult:
    """What a session might answer."""
    return WriteResult(session_id=session_id, state=replace(STATE, position=position), timing=TIMING)


def step_output(k: int) -> StepOutput:
    """Outputs of one step with the `k` best."""
    return StepOutput(
        position=3,
        best_ids=np.arange(k),
        best_log_probabilities=np.linspace(-1, -2, k, dtype=np.float32),
        best_texts=tuple(f"word{index}" for index in range(k)),
    )


def scores_for(ticket: Ticket) -> DocumentScores:
    """What the offline lane might answer: the second label is best."""
    return DocumentScores(
        scores=np.array([0.2, 0.7, 0.1], dtype=np.float32),
        step_count=len(ticket.operation.inputs),
        queue_seconds=0.001,
        compute_seconds=0.002,
    )


@dataclass
class PlayedEngine:
    """Stands for the engine. Answers at once what `play` answers; keeps the rest in `waiting`."""

    play: Callable[[Ticket], object | None] = lambda ticket: None
    refusal: GatehouseError | None = None
    waiting: list[Ticket] = field(default_factory=list)
    submitted: int = 0
    batches: list[int] = field(default_factory=list)
    failure: None = None
    draining: bool = False

    def __post_init__(self) -> None:
        self._arrived = asyncio.Event()

    @property
    def unanswered(self) -> int:
        return len(self.waiting)

    def clock(self) -> float:
        return asyncio.get_running_loop().time()

    def submit(self, ticket: Ticket) -> None:
        self.submit_all((ticket,))

    def submit_all(self, tickets: Sequence[Ticket], *, begun: bool = False) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.submitted += len(tickets)
        self.batches.append(len(tickets))
        played = [(ticket, self._outcome(ticket)) for ticket in tickets]
        self.waiting += [ticket for ticket, outcome in played if outcome is None]
        answers = [(ticket, outcome) for ticket, outcome in played if outcome is not None]
        asyncio.get_running_loop().call_soon(deliver_to_sinks, answers)
        self._arrived.set()

    def _outcome(self, ticket: Ticket) -> object | None:
        operation = ticket.operation  # a malformed write is answered as a session would
        return operation.error if isinstance(operation, RefusedWrite) else self.play(ticket)

    def answer(self, *outcomes: object) -> None:
        """One tick that finishes the oldest waiting operations."""
        taken = self.waiting[: len(outcomes)]
        del self.waiting[: len(outcomes)]
        deliver_to_sinks(list(zip(taken, outcomes, strict=True)))

    async def until_submitted(self, count: int) -> None:
        """Waits until so many operations have arrived in all."""
        while self.submitted < count:
            self._arrived.clear()
            await self._arrived.wait()


class Happenings(SilentObserver):
    """Counts happenings."""

    def __init__(self) -> None:
        self.counts: dict[Happening, int] = {}
        self._changed = asyncio.Event()

    def happened(self, what: Happening, amount: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + amount
        self._changed.set()

    async def until(self, what: Happening, count: int) -> None:
        """Waits until something has happened so often."""
        while self.counts.get(what, 0) < count:
            self._changed.clear()
            await self._changed.wait()


@dataclass(frozen=True)
class Stage:
    """A running server, and channels to its ports for users and for operators."""

    engine: PlayedEngine
    happenings: Happenings
    metrics: Metrics
    departure: Departure
    health: Health
    channel: grpc.aio.Channel
    admin_channel: grpc.aio.Channel
    port: int


@asynccontextmanager
async def stage(
    registry: Registry,
    *,
    play: Callable[[Ticket], object | None] = lambda ticket: None,
    stream_limits: StreamLimits | None = None,
    document_limits: DocumentLimits | None = None,
    channel_options: Sequence[tuple[str, Any]] = (),
    changes: object = None,
    status: Callable[[], ServerStatus] | None = None,
) -> AsyncIterator[Stage]:
    """Serves with a played engine on free ports of the loopback. `changes` plays `ModelChanges`."""
    engine, happenings, metrics, departure = PlayedEngine(play), Happenings(), Metrics(), Departure()
    as_engine = cast(Engine, engine)
    health = Health(services=SERVICES, registry=registry)
    admin_health = Health(services=ADMIN_SERVICES, registry=registry)
    with ThreadPoolExecutor(max_workers=1) as executor:
        services = Services(
            engine=as_engine,
            observer=happenings,
            metrics=metrics.requests,
            executor=executor,
            limits=document_limits or DocumentLimits(),
        )
        online = OnlineServicer(
            engine=as_engine,
            observer=happenings,
            metrics=metrics.requests,
            departure=departure,
            limits=stream_limits or StreamLimits(),
            sizes=OutputSizes(registry, max_bytes=3 * 2**20),
            generation_limits=GenerationLimits(),
        )
        servicers = Servicers(
            online=online,
            offline=OfflineServicer(registry=registry, services=services, departure=departure),
            models=ModelServicer(registry),
            health=health,
        )
        admin_servicers = AdminServicers(
            admin=AdminServicer(
                engine=as_engine,
                observer=happenings,
                changes=cast(ModelChanges, changes),
                status=status or (lambda: STATUS),
            ),
            health=admin_health,
        )
        server = build_server(servicers, CallInterceptor(metrics.requests, departure))
        admin_server = build_admin_server(admin_servicers, CallInterceptor(metrics.requests, Departure()))
        port, admin_port = bind(server, "127.0.0.1", 0), bind(admin_server, "127.0.0.1", 0)
        for each in (health, admin_health):
            await each.prepare()
            await each.begin()
        await server.start()
        await admin_server.start()
        options = list(channel_options)
        try:
            async with (
                grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel,
                grpc.aio.insecure_channel(f"127.0.0.1:{admin_port}", options=options) as admin_channel,
            ):
                yield Stage(engine, happenings, metrics, departure, health, channel, admin_channel, port)
        finally:
            await server.stop(grace=None)
            await admin_server.stop(grace=None)


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The rich status of a failed call."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            assert isinstance(value, bytes)
            return status_pb2.Status.FromString(value)
    return status_pb2.Status(code=error.code().value[0], message=error.details() or "")


def detail(status: status_pb2.Status, kind: type[Any]) -> Any:
    """The detail of a kind in a status; an empty one when it has none."""
    message: Any = kind()
    for packed in status.details:
        if packed.Is(message.DESCRIPTOR):
            packed.Unpack(message)
    return message


def reason_of(status: status_pb2.Status) -> str:
    """The stable reason in a status."""
    return str(detail(status, error_details_pb2.ErrorInfo).reason)


def fields_of(status: status_pb2.Status) -> list[str]:
    """The paths of the fields that were not accepted."""
    return [each.field for each in detail(status, error_details_pb2.BadRequest).field_violations]
