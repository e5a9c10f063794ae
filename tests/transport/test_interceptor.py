"""All four kinds of calls: exceptions become statuses, and calls are counted by method and code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from gatehouse_server.errors import TapeFull
from gatehouse_server.telemetry.metrics import Metrics
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.interceptor import CallInterceptor

from tests.transport.stage import reason_of, status_of


class Echo:
    """Answers what it is sent, by all kinds of calls; some requests mean something."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()

    async def one(self, request: bytes, context: Any) -> bytes:
        if request == b"fail":
            raise TapeFull("full")
        if request == b"wait":
            self.waiting.set()
            await asyncio.Event().wait()
        if request == b"code":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
        return request

    async def yielding(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield await self.one(request, context)

    async def yielding_many(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield await self.one(request, context)

    async def collecting(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([await self.one(request, context) async for request in requests])

    async def writing(self, requests: Any, context: Any) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(await self.one(request, context))

    def handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        return {
            "UnaryUnary": grpc.unary_unary_rpc_method_handler(self.one),
            "UnaryStream": grpc.unary_stream_rpc_method_handler(self.yielding),
            "StreamUnary": grpc.stream_unary_rpc_method_handler(self.collecting),
            "StreamStream": grpc.stream_stream_rpc_method_handler(self.yielding_many),
            "StreamWriting": grpc.stream_stream_rpc_method_handler(self.writing),
        }


KINDS = ("UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream", "StreamWriting")


@dataclass(frozen=True)
class Running:
    """An echo server and a channel to it."""

    echo: Echo
    channel: grpc.aio.Channel
    metrics: Metrics
    departure: Departure


@asynccontextmanager
async def echoing() -> AsyncIterator[Running]:
    """Serves an echo on a free port."""
    echo, metrics, departure = Echo(), Metrics(), Departure()
    server = grpc.aio.server(interceptors=[CallInterceptor(metrics.requests, departure)])
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("gatehouse.Echo", echo.handlers()),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Running(echo, channel, metrics, departure)
    await server.stop(None)


async def answer(channel: grpc.aio.Channel, kind: str, request: bytes) -> bytes:
    """What a method answers to one request."""
    path, any_channel = f"/gatehouse.Echo/{kind}", cast(Any, channel)
    if kind == "UnaryUnary":
        return bytes(await any_channel.unary_unary(path)(request))
    if kind == "StreamUnary":
        return bytes(await any_channel.stream_unary(path)(iter([request])))
    if kind == "UnaryStream":
        return b"".join([part async for part in any_channel.unary_stream(path)(request)])
    return b"".join([part async for part in any_channel.stream_stream(path)(iter([request]))])


@pytest.mark.parametrize("kind", KINDS)
async def test_answers_pass_and_failures_become_statuses(kind: str) -> None:
    """Of each kind: an answer, an exception of ours with its details, and a status set by the handler itself."""
    async with echoing() as on:
        assert await answer(on.channel, kind, b"hello") == b"hello"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answer(on.channel, kind, b"fail")
        assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
        assert reason_of(status_of(caught.value)) == "TAPE_FULL"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answer(on.channel, kind, b"code")
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    counted = {
        code: on.metrics.registry.get_sample_value(
            "gatehouse_requests_total", {"method": f"gatehouse.Echo/{kind}", "code": code}
        )
        for code in ("OK", "OUT_OF_RANGE", "PERMISSION_DENIED")
    }
    assert counted == {"OK": 1, "OUT_OF_RANGE": 1, "PERMISSION_DENIED": 1}


@pytest.mark.parametrize("kind", ["UnaryUnary", "UnaryStream", "StreamWriting"])
async def test_a_call_that_its_caller_left_is_counted_as_cancelled(kind: str) -> None:
    """And is over for the departure, too."""
    async with echoing() as on:
        calling = asyncio.create_task(answer(on.channel, kind, b"wait"))
        await on.echo.waiting.wait()
        calling.cancel()
        assert await on.departure.finished(10)
        labels = {"method": f"gatehouse.Echo/{kind}", "code": "CANCELLED"}
        assert on.metrics.registry.get_sample_value("gatehouse_requests_total", labels) == 1


async def test_a_method_that_does_not_exist_makes_no_series() -> None:
    """A stranger cannot invent values of labels."""
    async with echoing() as on:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await cast(Any, on.channel).unary_unary("/gatehouse.Echo/Invented")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        families = {family.name: family for family in on.metrics.registry.collect()}
        assert families["gatehouse_requests"].samples == []
