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
from google.protobuf.message import DecodeError

from tests.transport.stage import reason_of, status_of

GARBAGE = b"\xff\xff"
MOST_BYTES = 1000
LOST = grpc.aio.InternalError("Failed to write")
"""What `context.write` raises when the connection ends under it, by its public name."""


def decoded(raw: bytes) -> bytes:
    """The request, as a message's `FromString` would make it of the bytes."""
    if raw == GARBAGE:
        raise DecodeError("no message")
    return raw


class PanicException(BaseException):
    """As a library written in Rust tells of a panic."""


class Echo:
    """Answers what it is sent, by all kinds of calls; some requests mean something."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()

    async def one(self, request: bytes, context: Any) -> bytes:
        if request == b"fail":
            raise TapeFull("full")
        if request == b"panic":
            raise PanicException("index out of bounds")
        if request == b"wait":
            self.waiting.set()
            await asyncio.Event().wait()
        if request == b"lost":
            self.waiting.set()
            raise LOST
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
            "UnaryUnary": grpc.unary_unary_rpc_method_handler(self.one, decoded),
            "UnaryStream": grpc.unary_stream_rpc_method_handler(self.yielding, decoded),
            "StreamUnary": grpc.stream_unary_rpc_method_handler(self.collecting, decoded),
            "StreamStream": grpc.stream_stream_rpc_method_handler(self.yielding_many, decoded),
            "StreamWriting": grpc.stream_stream_rpc_method_handler(self.writing, decoded),
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
    server = grpc.aio.server(
        interceptors=[CallInterceptor(metrics.requests, departure)],
        options=[("grpc.max_receive_message_length", MOST_BYTES)],
    )
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


@pytest.mark.parametrize("kind", KINDS)
async def test_a_panic_of_a_library_is_answered(kind: str) -> None:
    """It is no `Exception`, and gRPC would leave the call without an end."""
    async with echoing() as on:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(answer(on.channel, kind, b"panic"), 10)
        assert caught.value.code() is grpc.StatusCode.INTERNAL


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


async def test_a_connection_that_ends_while_it_is_written_to_is_no_defect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """gRPC fails the write, sometimes before it tells that the caller has left: the call counts as cancelled, and
    nothing is logged.
    """
    async with echoing() as on:
        calling = asyncio.create_task(answer(on.channel, "StreamWriting", b"lost"))
        await on.echo.waiting.wait()
        assert await on.departure.finished(10)
        calling.cancel()
    assert requests(on.metrics) == {"CANCELLED": 1}
    assert caplog.records == []


def unreadable(metrics: Metrics) -> dict[str, float]:
    """Requests that could not be read, by reason; those that there were."""
    (family,) = [each for each in metrics.registry.collect() if each.name == "gatehouse_unreadable_requests"]
    counts = {sample.labels["reason"]: sample.value for sample in family.samples if sample.value}
    assert len(family.samples) == 3
    return counts


def requests(metrics: Metrics) -> dict[str, float]:
    """Calls that ended, by code."""
    (family,) = [each for each in metrics.registry.collect() if each.name == "gatehouse_requests"]
    return {sample.labels["code"]: sample.value for sample in family.samples}


async def test_methods_that_do_not_exist_are_counted_without_their_names() -> None:
    """A stranger cannot invent values of labels."""
    async with echoing() as on:
        for number in range(3):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await cast(Any, on.channel).unary_unary(f"/gatehouse.Echo/Invented{number}")(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert unreadable(on.metrics) == {"unknown_method": 3}
        assert requests(on.metrics) == {}


@pytest.mark.parametrize("kind", KINDS)
async def test_bytes_that_are_no_message_are_refused_and_counted(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller is told that it is its own fault; however many come, no line is logged."""
    async with echoing() as on:
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await answer(on.channel, kind, GARBAGE)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert reason_of(status_of(caught.value)) == "INVALID_INPUT"
    assert unreadable(on.metrics) == {"undecodable": 3}
    assert requests(on.metrics) == {"INVALID_ARGUMENT": 3}
    assert caplog.records == []


@pytest.mark.parametrize("kind", ["UnaryUnary", "UnaryStream"])
async def test_a_request_that_is_too_large_is_counted(
    kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC tells the caller, and cuts the call before it is here: nobody looks at it, and nothing is logged."""
    async with echoing() as on:
        ended, count = asyncio.Event(), on.metrics.requests.request

        def counted(method: str, code: str, seconds: float) -> None:
            count(method, code, seconds)
            ended.set()

        monkeypatch.setattr(on.metrics.requests, "request", counted)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answer(on.channel, kind, b"x" * (MOST_BYTES + 1))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await ended.wait()
    assert unreadable(on.metrics) == {"incomplete": 1}
    assert requests(on.metrics) == {"CANCELLED": 1}
    assert caplog.records == []


async def test_a_call_that_brings_no_message_is_refused() -> None:
    """Where one is due."""
    async with echoing() as on:
        empty = cast(Any, on.channel).stream_unary("/gatehouse.Echo/UnaryUnary")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await empty(iter(()))
        assert reason_of(status_of(caught.value)) == "EMPTY_INPUT"
        assert unreadable(on.metrics) == {"undecodable": 1}
