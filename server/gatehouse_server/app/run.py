"""The life of the server process: start, serve, drain."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc.aio
import structlog

from gatehouse_server.app import greeting
from gatehouse_server.app.capacity import capacity_of
from gatehouse_server.app.composition import Built, build, choose_device, load_models, versions
from gatehouse_server.app.event_loop import name_of, new_event_loop
from gatehouse_server.app.failure import CannotStartError
from gatehouse_server.app.readiness import Phase, Readiness
from gatehouse_server.app.storing import open_store
from gatehouse_server.settings import Settings
from gatehouse_server.telemetry.logs import configure_logs
from gatehouse_server.telemetry.metrics import Metrics
from gatehouse_server.telemetry.server_metrics import ServerMetrics
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.http import HttpServer
from gatehouse_server.transport.interceptor import CallInterceptor
from gatehouse_server.transport.server import PortUnavailableError, bind, build_admin_server, build_server

_log = structlog.get_logger(__name__)

_ENGINE_LOOK_SECONDS = 1.0
_LAST_ANSWERS_SECONDS = 1.0
_LAST_TURN_SECONDS = 5.0
_LAST_STORE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports that were taken."""

    grpc: int
    admin: int
    http: int


class Gatehouse:
    """One server, from `start` to `drain`. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._departure = Departure()
        # Of its own: a list that nobody reads on must not keep users' server from leaving.
        self._admin_departure = Departure()
        self._readiness = Readiness(
            required=settings.require_models, stuck_turn_seconds=settings.stuck_turn_seconds
        )
        self._server_metrics = ServerMetrics(
            unready=self._readiness.unready, unhealthy=self._readiness.unhealthy
        )
        self._metrics.add_server(self._server_metrics)
        self._http: HttpServer | None = None
        self._server: grpc.aio.Server | None = None
        self._admin_server: grpc.aio.Server | None = None
        self._built: Built | None = None
        self._watching: asyncio.Task[None] | None = None
        self._watching_lag: asyncio.Task[None] | None = None

    async def start(self) -> Ports:
        """Opens the HTTP port, loads the models, opens the gRPC ports. Raises CannotStartError."""
        settings = self._settings
        device = choose_device(settings)
        try:
            with _port_of("--http-port"):
                self._http = HttpServer(
                    host=settings.http_host,
                    port=settings.http_port,
                    metrics=self._metrics.page(),
                    unhealthy=self._readiness.unhealthy,
                    unready=self._readiness.unready,
                    warnings=self._readiness.warnings,
                )
            with self._stage("models"):
                registry = await asyncio.to_thread(load_models, settings, device)
            self._metrics.add_models(registry)
            self._metrics.add_build(versions(), device)
            self._metrics.add_process()
            with self._stage("state_store"):
                store = await asyncio.to_thread(open_store, settings)
            with self._stage("engine"):
                built = self._built = build(settings, registry, store, self._metrics, self._departure)
            server = self._server = build_server(
                built.servicers, CallInterceptor(self._metrics.requests, self._departure)
            )
            admin_server = self._admin_server = build_admin_server(
                built.admin_servicers, CallInterceptor(self._metrics.requests, self._admin_departure)
            )
            with _port_of("--port"):
                port = bind(server, settings.host, settings.port)
            with _port_of("--admin-port"):
                admin_port = bind(admin_server, settings.admin_host, settings.admin_port)
        except CannotStartError:
            self.close()
            raise
        self._readiness.watch(built.engine, registry)
        self._readiness.watch_store(built.sessions.store_problem, built.sessions.store_warning)
        if built.worker is not None:
            built.worker.start()
        built.engine.start()
        for health in built.healths:
            await health.prepare()
        await server.start()
        await admin_server.start()
        for health in built.healths:
            await health.begin()
        self._readiness.phase = Phase.SERVING
        self._server_metrics.serving(capacity_of(settings, built, device))
        self._watching = asyncio.create_task(self._watch_engine(built))
        self._watching_lag = asyncio.create_task(self._server_metrics.watch_lag())
        return Ports(grpc=port, admin=admin_port, http=self._http.port)

    async def drain(self) -> None:
        """Refuses new work, finishes what runs within the grace period, answers the rest with Draining.

        Operators are answered to the end.
        """
        built = self._built
        assert built is not None, "drain before start"
        assert self._watching is not None, "drain before start"
        self._watching.cancel()
        self._readiness.phase = Phase.DRAINING
        _log.info("draining", grace_seconds=self._settings.drain_grace_seconds)
        for health in built.healths:
            await health.end()
        built.engine.drain()
        self._departure.begin()
        in_time = await self._departure.finished(self._settings.drain_grace_seconds)
        if not in_time:
            _log.warning("grace period is over", unanswered=built.engine.unanswered)
        await asyncio.to_thread(built.engine.stop, _LAST_TURN_SECONDS)
        await asyncio.to_thread(self._close_store, built)
        await self._departure.finished(_LAST_ANSWERS_SECONDS)
        await self._admin_departure.finished(_LAST_ANSWERS_SECONDS)
        await self._stop_servers()
        if self._watching_lag is not None:
            self._watching_lag.cancel()
        self.close()

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        began_seconds = time.perf_counter()
        yield
        self._server_metrics.stage(name, time.perf_counter() - began_seconds)

    def close(self) -> None:
        """Frees what is left: the HTTP port and the thread for texts."""
        if self._http is not None:
            self._http.close()
        if self._built is not None:
            self._built.executor.shutdown(wait=False, cancel_futures=True)
            self._close_store(self._built)

    def _close_store(self, built: Built) -> None:
        """Stores what is left. The engine, which would change more, has ended, or never began."""
        if built.worker is not None and not built.worker.close(_LAST_STORE_SECONDS):
            _log.error("the state store did not take everything", unsaved_sessions=built.worker.unsaved)

    async def _watch_engine(self, built: Built) -> None:
        """When the engine thread fails, ends all calls: nobody would answer them. Liveness tells."""
        while built.engine.failure is None:  # noqa: ASYNC110 - a thread sets no event
            await asyncio.sleep(_ENGINE_LOOK_SECONDS)
        _log.critical("the engine failed", exc_info=built.engine.failure)
        for health in built.healths:
            await health.end()
        await self._stop_servers()

    async def _stop_servers(self) -> None:
        """Ends the calls that are left, users' first."""
        for server in (self._server, self._admin_server):
            if server is not None:
                await server.stop(grace=None)


@contextmanager
def _port_of(flag: str) -> Iterator[None]:
    """Around the opening of the port that `flag` chooses. Raises CannotStartError when it is not to be had."""
    try:
        yield
    except PortUnavailableError as error:
        raise CannotStartError(
            f"{error}. Is a server running there, or is it no address of this machine? "
            f"Choose another with {flag} or {flag.replace('port', 'host')}"
        ) from error


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT and returns the exit code. A second signal ends the process at once.

    Raises CannotStartError.
    """
    configure_logs(log_format=settings.log_format, level=settings.log_level)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    asked_to_leave = asyncio.Event()

    def leave(number: int) -> None:
        if asked_to_leave.is_set():
            os._exit(128 + number)
        asked_to_leave.set()

    loop = asyncio.get_running_loop()
    _log.info("event loop", kind=name_of(loop))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave, number)
    gatehouse = Gatehouse(settings)
    ports = await gatehouse.start()
    greeting.greet(settings, grpc_port=ports.grpc, admin_port=ports.admin, http_port=ports.http)
    await asked_to_leave.wait()
    await gatehouse.drain()
    _log.info("stopped")
    return 0
