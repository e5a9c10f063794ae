"""All metrics of a server together, and the page on which Prometheus reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    make_wsgi_app,
)

from gatehouse_server.models.registry import Registry
from gatehouse_server.telemetry.engine_metrics import EngineMetrics
from gatehouse_server.telemetry.model_metrics import ModelMetrics, register_build
from gatehouse_server.telemetry.request_metrics import RequestMetrics
from gatehouse_server.telemetry.server_metrics import ServerMetrics

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


class Metrics:
    """The series of one server, in a registry of its own unless one is given."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.engine = EngineMetrics()
        self.requests = RequestMetrics()
        self.registry.register(self.engine)
        self.registry.register(self.requests)

    def add_server(self, server: ServerMetrics) -> None:
        """Adds how the server as a whole is."""
        self.registry.register(server)

    def add_process(self) -> None:
        """Adds memory, processor time, open files and garbage collections of this process."""
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def add_models(self, models: Registry, changes: Sequence[str] = ()) -> ModelMetrics:
        """Adds what is known of the models; `changes` are the names of what can become of them."""
        metrics = ModelMetrics(models, changes)
        self.registry.register(metrics)
        return metrics

    def add_build(self, versions: Mapping[str, str], device: str) -> None:
        """Adds what serves."""
        register_build(self.registry, versions, device)

    def page(self) -> WSGIApplication:
        """The page of metrics as a WSGI application; text or OpenMetrics, as the reader asks."""
        return make_wsgi_app(self.registry)
