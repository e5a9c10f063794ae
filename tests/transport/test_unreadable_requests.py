"""Garbage on every method that the two ports have."""

from __future__ import annotations

from typing import Any, cast

import grpc
import pytest
from gatehouse.v1 import admin_pb2, model_pb2, offline_pb2, online_pb2
from gatehouse_server.models.registry import Registry
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from tests.transport.stage import stage

GARBAGE = b"\xff\xff"
FILES = (online_pb2, offline_pb2, model_pb2, admin_pb2, health_pb2, reflection_pb2)


async def test_garbage_is_the_callers_fault_wherever_it_arrives(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """Each method refuses it with INVALID_ARGUMENT and counts it; none logs a line."""
    sent = 0
    async with stage(registry) as on:
        for file in FILES:
            for service in file.DESCRIPTOR.services_by_name.values():
                channel = cast(Any, on.admin_channel if file is admin_pb2 else on.channel)
                for method in service.methods:
                    call = channel.stream_stream(f"/{service.full_name}/{method.name}")(iter([GARBAGE]))
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await call.read()
                    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, method.full_name
                    sent += 1
        value = on.metrics.registry.get_sample_value
        assert value("gatehouse_unreadable_requests_total", {"reason": "undecodable"}) == sent > 20
    assert caplog.records == []
