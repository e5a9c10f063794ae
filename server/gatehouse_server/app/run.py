"""The life of the server process: start, serve, drain."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass

import grpc.aio
import structlog

from gatehouse_server.app import greeting
from gatehouse_server.app.composition import Built, build, choose_device, load_models, versions
from gatehouse_server.app.failure import CannotStartError
from gatehouse_server.app.readiness import Phase, Readiness
from gatehouse_server.settings import Settings
from gatehouse_server.telemetry.logs import configure_logs
from gatehouse_server.telemetry.metrics import Metrics
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.http import HttpServer
from gatehouse_server.transport.interceptor import CallInterceptor
from gatehouse_server.transport.server import PortUnavailableError, bind, build_server

_log = structlog.get_logger(__name__)

_ENGINE_LOOK_SECONDS = 1.0
_LAST_ANSWERS_SECONDS = 1.0
_LAST_TURN_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports that were taken."""

    grpc: int
    http: int


class Gatehouse:
    """One server, from `start` to `drain`. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._departure = Departure()
        self._readiness = Readiness(
            required=settings.require_models, stuck_turn_seconds=settings.stuck_turn_seconds
        )
        self._http: HttpServer | None = None
        self._server: grpc.aio.Server | None = None
        self._built: Built | None = None
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> Ports:
        """Opens the HTTP port, loads the models, opens the gRPC port. Raises CannotStartError."""
        settings = self._settings
        device = choose_device(settings)
        try:
            self._http = HttpServer(
                host=settings.http_host,
                port=settings.http_port,
                metrics=self._metrics.page(),
                unhealthy=self._readiness.unhealthy,
                unready=self._readiness.unready,
            )
            registry = await asyncio.to_thread(load_models, settings, device)
            self._metrics.add_models(registry)
            self._metrics.add_build(versions(), device)
            self._metrics.add_process()
            built = self._built = build(settings, registry, self._metrics, self._departure)
            interceptor = CallInterceptor(self._metrics.requests, self._departure)
            server = self._server = build_server(built.servicers, interceptor)
            port = bind(server, settings.host, settings.port)
        except PortUnavailableError as error:
            self.close()
            flag = "--http-port" if self._http is None else "--port"
            raise CannotStartError(
                f"{error}. Is a server running there, or is it no address of this machine? "
                f"Choose another with {flag} or {flag.replace('port', 'host')}"
            ) from error
        except CannotStartError:
            self.close()
            raise
        self._readiness.watch(built.engine, registry)
        built.engine.start()
        await built.servicers.health.prepare()
        await server.start()
        await built.servicers.health.begin()
        self._readiness.phase = Phase.SERVING
        self._watching = asyncio.create_task(self._watch_engine(built, server))
        return Ports(grpc=port, http=self._http.port)

    async def drain(self) -> None:
        """Refuses new work, finishes what runs within the grace period, answers the rest with Draining."""
        built, server = self._built, self._server
        assert built is not None, "drain before start"
        assert server is not None, "drain before start"
        assert self._watching is not None, "drain before start"
        self._watching.cancel()
        self._readiness.phase = Phase.DRAINING
        await built.servicers.health.end()
        built.engine.drain()
        self._departure.begin()
        in_time = await self._departure.finished(self._settings.drain_grace_seconds)
        if not in_time:
            _log.warning("grace period is over", unanswered=built.engine.unanswered)
        await asyncio.to_thread(built.engine.stop, _LAST_TURN_SECONDS)
        await self._departure.finished(_LAST_ANSWERS_SECONDS)
        await server.stop(grace=None)
        self.close()

    def close(self) -> None:
        """Frees what is left: the HTTP port and the thread for texts."""
        if self._http is not None:
            self._http.close()
        if self._built is not None:
            self._built.executor.shutdown(wait=False, cancel_futures=True)

    async def _watch_engine(self, built: Built, server: grpc.aio.Server) -> None:
        """When the engine thread fails, ends all calls: nobody would answer them. Liveness tells."""
        while built.engine.failure is None:  # noqa: ASYNC110 - a thread sets no event
            await asyncio.sleep(_ENGINE_LOOK_SECONDS)
        _log.critical("the engine failed", exc_info=built.engine.failure)
        await built.servicers.health.end()
        await server.stop(grace=None)


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT and returns the exit code. A second signal ends the process at once.

    Raises CannotStartError.
    """
    configure_logs(log_format=settings.log_format, level=settings.log_level)
    return asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    asked_to_leave = asyncio.Event()

    def leave(number: int) -> None:
        if asked_to_leave.is_set():
            os._exit(128 + number)
        asked_to_leave.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave, number)
    gatehouse = Gatehouse(settings)
    ports = await gatehouse.start()
    greeting.greet(settings, grpc_port=ports.grpc, http_port=ports.http)
    await asked_to_leave.wait()
    _log.info("draining", grace_seconds=settings.drain_grace_seconds)
    await gatehouse.drain()
    _log.info("stopped")
    return 0
