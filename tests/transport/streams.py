"""A stream of OnlineService, open on a stage, and what is sent over it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from gatehouse.v1 import online_pb2, online_pb2_grpc
from gatehouse_server.models.registry import Registry
from gatehouse_server.transport.online_stream import StreamLimits

from tests.transport.stage import Stage, stage

# The stubs do not know that a dictionary can stand for a submessage.
ONLINE: Any = online_pb2

Call = grpc.aio.StreamStreamCall[online_pb2.StreamRequest, online_pb2.StreamResponse]


def write(tag: int, session_id: str = "s", **fields: Any) -> online_pb2.StreamOperation:
    """A write that moves to the start, unless `fields` say otherwise."""
    operation: online_pb2.StreamOperation = ONLINE.StreamOperation(
        tag=tag, write={"session_id": session_id, "at": 0, **fields}
    )
    return operation


def request(*operations: online_pb2.StreamOperation) -> online_pb2.StreamRequest:
    """One message."""
    return online_pb2.StreamRequest(operations=operations)


async def received(call: Call) -> online_pb2.StreamResponse:
    """The next message."""
    message = await call.read()
    assert isinstance(message, online_pb2.StreamResponse), "the stream has ended"
    return message


@asynccontextmanager
async def streaming(registry: Registry, **limits: Any) -> AsyncIterator[tuple[Stage, Call]]:
    """A stage with a stream open on it."""
    async with stage(registry, stream_limits=StreamLimits(**limits)) as on:
        call = online_pb2_grpc.OnlineServiceStub(on.channel).Stream()
        yield on, call
        call.cancel()
