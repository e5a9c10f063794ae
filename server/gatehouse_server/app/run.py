"""The life of the server process: start, serve, drain."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import grpc.aio
import structlog

from gatehouse_server.app import greeting
from gatehouse_server.app.capacity import capacity_of
from gatehouse_server.app.checking import check_settings
from gatehouse_server.app.composition import Built, build, choose_device, versions
from gatehouse_server.app.engine_watch import until_it_fails
from gatehouse_server.app.event_loop import name_of, new_event_loop
from gatehouse_server.app.failure import EXIT_SOMETHING_LOST, CannotStartError
from gatehouse_server.app.model_loading import load_models
from gatehouse_server.app.ports import Ports, port_of
from gatehouse_server.app.readiness import Phase, Readiness
from gatehouse_server.app.storing import open_store
from gatehouse_server.app.tracing import Tracing, open_tracing
from gatehouse_server.engine.loop import ENGINE_THREAD
from gatehouse_server.settings import Settings
from gatehouse_server.telemetry.escaped import log_escaped
from gatehouse_server.telemetry.logs import configure_logs
from gatehouse_server.telemetry.metrics import Metrics
from gatehouse_server.telemetry.server_metrics import ServerMetrics
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.http import HttpServer
from gatehouse_server.transport.interceptor import CallInterceptor
from gatehouse_server.transport.server import (
    ConnectionAge,
    bind,
    build_admin_server,
    build_server,
)

_log = structlog.get_logger(__name__)

_LAST_ANSWERS_SECONDS = 1.0
_LAST_TURN_SECONDS = 5.0
_LAST_CALLS_SECONDS = 0.5
_LAST_STORE_SECONDS = 10.0
_LAST_SPANS_SECONDS = 5.0


class Gatehouse:
    """One server, from `start` to `drain`. Belongs to one event loop. `failed` is called when it had better end."""

    def __init__(
        self,
        settings: Settings,
        *,
        import_seconds: float = 0.0,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._failed = failed
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
        self._server_metrics.stage("imports", import_seconds)
        self._metrics.add_server(self._server_metrics)
        self._tracing: Tracing | None = None
        self._http: HttpServer | None = None
        self._server: grpc.aio.Server | None = None
        self._admin_server: grpc.aio.Server | None = None
        self._built: Built | None = None
        self._watching: asyncio.Task[None] | None = None
        self._watching_lag: asyncio.Task[None] | None = None
        self._watching_recent: asyncio.Task[None] | None = None

    async def start(self) -> Ports:
        """Checks the settings, opens the HTTP port, loads the models, opens the gRPC ports. Raises CannotStartError."""
        settings = self._settings
        device = choose_device(settings)
        check_settings(settings, device)
        tracing = self._tracing = open_tracing(settings, versions()["gatehouse"])
        traces = None if tracing is None else tracing.traces
        try:
            with port_of("--http-port"):
                self._http = HttpServer(
                    host=settings.http_host,
                    port=settings.http_port,
                    metrics=self._metrics.page(),
                    unhealthy=self._readiness.unhealthy,
                    unready=self._readiness.unready,
                    warnings=self._readiness.warnings,
                )
            self._metrics.add_build(versions(), device)
            self._metrics.add_process()
            with self._stage("models"):
                registry = await asyncio.to_thread(load_models, settings, device)
            with self._stage("state_store"):
                store = await asyncio.to_thread(open_store, settings)
            with self._stage("engine"):
                built = self._built = build(
                    settings,
                    registry,
                    device,
                    store,
                    self._metrics,
                    self._departure,
                    self._readiness,
                    self._server_metrics,
                )
            server = self._server = build_server(
                built.servicers,
                CallInterceptor(self._metrics.requests, self._departure, traces),
                _connection_age(settings),
            )
            admin_server = self._admin_server = build_admin_server(
                built.admin_servicers, CallInterceptor(self._metrics.requests, self._admin_departure, traces)
            )
            with port_of("--port"):
                port = bind(server, settings.host, settings.port)
            with port_of("--admin-port"):
                admin_port = bind(admin_server, settings.admin_host, settings.admin_port)
        except CannotStartError:
            if self._built is not None:
                self._close_store(self._built)
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
        self._watching_recent = asyncio.create_task(built.recent.watch())
        return Ports(grpc=port, admin=admin_port, http=self._http.port)

    @property
    def start_seconds(self) -> Mapping[str, float]:
        """How long each stage of the start took."""
        return self._server_metrics.start_seconds

    @property
    def changes_models(self) -> bool:
        """Whether an operator's change of the models is under way, which may be reading one."""
        return self._built is not None and self._built.changes.under_way

    async def drain(self) -> bool:
        """Lets load balancers notice, then refuses new work, finishes what runs within the grace period, answers the
        rest with Draining. Operators are answered to the end. Tells whether nothing was lost.
        """
        built = self._built
        assert built is not None, "drain before start"
        assert self._watching is not None, "drain before start"
        self._readiness.phase = Phase.LEAVING
        for health in built.healths:
            await health.end()
        if self._settings.drain_delay_seconds and built.engine.failure is None:
            _log.info("leaving", delay_seconds=self._settings.drain_delay_seconds)
            await asyncio.sleep(self._settings.drain_delay_seconds)
        self._watching.cancel()
        self._readiness.phase = Phase.DRAINING
        _log.info("draining", grace_seconds=self._settings.drain_grace_seconds)
        built.engine.drain()
        self._departure.begin()
        in_time = await self._departure.finished(self._settings.drain_grace_seconds)
        if not in_time:
            _log.warning("grace period is over", unanswered=built.engine.unanswered)
        ended = await asyncio.to_thread(built.engine.stop, _LAST_TURN_SECONDS)
        stored = await asyncio.to_thread(self._close_store, built)
        await self._departure.finished(_LAST_ANSWERS_SECONDS)
        await self._admin_departure.finished(_LAST_ANSWERS_SECONDS)
        await self._stop_servers(grace_seconds=_LAST_CALLS_SECONDS)
        for watching in (self._watching_lag, self._watching_recent):
            if watching is not None:
                watching.cancel()
        if self._tracing is not None and not await asyncio.to_thread(
            self._tracing.close, _LAST_SPANS_SECONDS
        ):
            _log.warning("the last traces were not taken in time")
        self.close()
        return ended and stored and built.engine.failure is None

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
            self._built.changes.close()
            self._built.executor.shutdown(wait=False, cancel_futures=True)

    def _close_store(self, built: Built) -> bool:
        """Stores what is left; whether all was. The engine, which would change more, has ended, or never began."""
        if built.worker is not None and not built.worker.close(_LAST_STORE_SECONDS):
            _log.error("the state store did not take everything", unsaved_sessions=built.worker.unsaved)
            return False
        return True

    async def _watch_engine(self, built: Built) -> None:
        """When the engine thread fails, ends all calls, which nobody would answer, and has the server end."""
        await until_it_fails(built.engine, stuck_turn_seconds=self._settings.stuck_turn_seconds)
        for health in built.healths:
            await health.end()
        await self._stop_servers()
        self._failed()

    async def _stop_servers(self, grace_seconds: float | None = None) -> None:
        """Ends the calls that are left, users' first. In the grace period clients are told to go elsewhere, and what
        they have just begun is still answered; without one it is cut.
        """
        for server in (self._server, self._admin_server):
            if server is not None:
                await server.stop(grace=grace_seconds)


def _connection_age(settings: Settings) -> ConnectionAge | None:
    if not settings.max_connection_age_seconds:
        return None
    return ConnectionAge(
        seconds=settings.max_connection_age_seconds, grace_seconds=settings.max_connection_age_grace_seconds
    )


def run(settings: Settings, *, import_seconds: float = 0.0) -> int:
    """Serves until SIGTERM or SIGINT, or until the engine fails, and returns the exit code. A second signal ends the
    process at once.

    `import_seconds` is how long it took to get here. Raises CannotStartError.
    """
    configure_logs(log_format=settings.log_format, level=settings.log_level, user_text=settings.log_user_text)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(settings, import_seconds))


async def _serve(settings: Settings, import_seconds: float) -> int:
    time_to_leave = asyncio.Event()
    signals: list[int] = []

    def leave(number: int) -> None:
        if signals:
            os._exit(128 + number)
        signals.append(number)
        time_to_leave.set()

    loop = asyncio.get_running_loop()
    log_escaped(loop, watched_threads=(ENGINE_THREAD,))
    _log.info("event loop", kind=name_of(loop))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave, number)
    gatehouse = Gatehouse(settings, import_seconds=import_seconds, failed=time_to_leave.set)
    ports = await gatehouse.start()
    greeting.greet(
        settings,
        grpc_port=ports.grpc,
        admin_port=ports.admin,
        http_port=ports.http,
        start_seconds=gatehouse.start_seconds,
    )
    await time_to_leave.wait()
    nothing_lost = await gatehouse.drain()
    _log.info("stopped", nothing_lost=nothing_lost)
    code = 0 if nothing_lost else EXIT_SOMETHING_LOST
    if gatehouse.changes_models:
        # The end of the loop waits for its threads, and so for a model to be read that nobody will use.
        os._exit(code)
    return code
