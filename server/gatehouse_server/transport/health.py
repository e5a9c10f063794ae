"""grpc.health.v1: whether the server, each service and each model can be used."""

from __future__ import annotations

from collections.abc import Sequence

from grpc_health.v1 import health, health_pb2

from gatehouse_server.models.registry import Registry

MODEL_PREFIX = "models/"


class Health:
    """Keeps the health service up to date. Everything is NOT_SERVING until `begin`, and again from `end` on.

    Names: "" is the server, services have theirs, models are `models/<name>@<version>`, and `models/<name>`
    for the newest version that loaded.
    """

    def __init__(self, *, services: Sequence[str], registry: Registry) -> None:
        self.servicer = health.aio.HealthServicer()
        self._services = ("", *services)
        self._registry = registry
        self._begun = False
        self._told: dict[str, bool] = {}

    async def prepare(self) -> None:
        """Says of everything that it does not serve yet."""
        for name in (*self._services, *self._models()):
            await self.servicer.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)

    async def begin(self) -> None:
        """The server takes work; models that failed to load stay NOT_SERVING."""
        for name in self._services:
            await self.servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._begun = True
        await self.follow()

    async def follow(self) -> None:
        """The models are others than before. What is served no more is NOT_SERVING: it is known, unlike strangers."""
        if not self._begun:
            return
        models = self._models()
        for name in self._told.keys() - models.keys():
            models[name] = False
        for name, serves in models.items():
            if self._told.get(name) != serves:
                status = health_pb2.HealthCheckResponse
                await self.servicer.set(name, status.SERVING if serves else status.NOT_SERVING)
        self._told = models

    async def end(self) -> None:
        """The server is leaving: NOT_SERVING for good."""
        await self.servicer.enter_graceful_shutdown()

    def _models(self) -> dict[str, bool]:
        """Whether each name serves; a name without version does when any version of it loaded."""
        serves: dict[str, bool] = {}
        for failure in self._registry.failed:
            serves[MODEL_PREFIX + failure.key] = False
            serves[MODEL_PREFIX + failure.key.partition("@")[0]] = False
        for model in self._registry.models:
            serves[MODEL_PREFIX + model.key] = True
            serves[MODEL_PREFIX + model.name] = True
        return serves
