"""grpc.health.v1 and reflection, as load balancers and tools use them."""

from typing import Any, cast

import grpc.aio
import pytest
from gatehouse_server.models.registry import Registry
from gatehouse_server.transport.health import Health
from gatehouse_server.transport.server import SERVICES
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.transport.stage import Stage, stage

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def asked(on: Stage, service: str) -> Any:
    """The health of a name."""
    stub: Any = health_pb2_grpc.HealthStub(on.channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


async def test_server_services_and_models_have_a_health(registry: Registry) -> None:
    """A model that failed to load does not serve, and takes nothing else along."""
    async with stage(registry) as on:
        serving = ["", *SERVICES, "models/keyboard", "models/keyboard@1", "models/topics"]
        assert [await asked(on, name) for name in serving] == [SERVING] * len(serving)
        assert SERVICES == (
            "gatehouse.v1.OnlineService",
            "gatehouse.v1.OfflineService",
            "gatehouse.v1.ModelService",
        )
        assert await asked(on, "models/broken") == await asked(on, "models/broken@3") == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError):
            await asked(on, "models/nobody")


async def test_nothing_serves_before_the_beginning(registry: Registry) -> None:
    """A server that is still getting ready says so under every name."""
    health = Health(services=SERVICES, registry=registry)
    await health.prepare()
    servicer: Any = health.servicer
    for name in ("", SERVICES[0], "models/keyboard@1"):
        answer: Any = await servicer.Check(health_pb2.HealthCheckRequest(service=name), None)
        assert answer.status == NOT_SERVING


async def test_a_watcher_is_told_when_the_server_leaves(registry: Registry) -> None:
    """Watch answers at once, and again with NOT_SERVING; it does not hold up the departure."""
    async with stage(registry) as on:
        stub: Any = health_pb2_grpc.HealthStub(on.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == SERVING
        await on.health.end()
        assert (await watch.read()).status == NOT_SERVING
        assert await on.departure.finished(0.1)
        watch.cancel()


async def test_tools_can_ask_what_there_is(registry: Registry) -> None:
    """Reflection lists our services, so that grpcurl works without the protos."""
    async with stage(registry) as on:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast(Any, on.channel))
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = [each async for each in stub.ServerReflectionInfo(iter([question]))]
    names = {service.name for service in answers[0].list_services_response.service}
    assert {*SERVICES, "grpc.health.v1.Health"} <= names
