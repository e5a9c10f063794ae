"""Unary calls of OnlineService: the engine's answer, or its refusal as the status of the call."""

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pytest
from gatehouse.v1 import online_pb2, online_pb2_grpc
from gatehouse_server.engine.observer import Happening
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import Draining, Overloaded, RevisionConflict, SessionNotFound
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.operations import (
    CreateSession,
    DeleteSession,
    ExportSession,
    ForkSession,
    GetSession,
    ImportSession,
    Suggest,
    Write,
)
from gatehouse_server.sessions.results import (
    SessionDeleted,
    SessionExport,
    SessionView,
    Suggestion,
    SuggestResult,
    WriteResult,
)
from gatehouse_server.transport.generation import Generation
from gatehouse_server.transport.message_size import MAX_BLOB_BYTES, MAX_MESSAGE_BYTES

from tests.transport.stage import (
    STATE,
    TIMING,
    fields_of,
    reason_of,
    stage,
    status_of,
    write_result,
)

# The stubs do not know that a dictionary can stand for a submessage.
ONLINE: Any = online_pb2

VIEW = SessionView(
    session_id="s",
    model="keyboard@1",
    state=STATE,
    max_unanswered_writes=8,
    max_write_steps=4096,
    max_tape_steps=10**6,
    durability="async",
)
MOVE = ONLINE.WriteRequest(write={"session_id": "s", "at": 0})


async def test_each_call_reaches_the_engine_and_answers(registry: Registry) -> None:
    """All unary calls go through, each with an operation of its own kind."""
    suggested = SuggestResult(
        session_id="s",
        state=STATE,
        timing=TIMING,
        suggestions=(Suggestion(text="you", log_probability=-1.0),),
        prefix="y",
        rebuilt=False,
        computed_steps=1,
    )
    answers = {
        Write: write_result(),
        Suggest: suggested,
        CreateSession: VIEW,
        GetSession: VIEW,
        ForkSession: VIEW,
        ExportSession: SessionExport(blob=b"sealed", view=VIEW),
        ImportSession: VIEW,
        DeleteSession: SessionDeleted(session_id="s"),
    }
    async with stage(registry, play=lambda ticket: answers[type(ticket.operation)]) as on:
        stub = online_pb2_grpc.OnlineServiceStub(on.channel)
        write = await stub.Write(MOVE)
        suggest = await stub.Suggest(ONLINE.SuggestRequest(suggest={"text": "how are y"}))
        created = await stub.CreateSession(online_pb2.CreateSessionRequest(model="keyboard"))
        got = await stub.GetSession(online_pb2.GetSessionRequest(session_id="s"))
        forked = await stub.ForkSession(online_pb2.ForkSessionRequest(session_id="s"))
        exported = await stub.ExportSession(online_pb2.ExportSessionRequest(session_id="s"))
        imported = await stub.ImportSession(online_pb2.ImportSessionRequest(blob=b"sealed"))
        await stub.DeleteSession(online_pb2.DeleteSessionRequest(session_id="s"))
    assert write.result.state.position == 3
    assert [each.text for each in suggest.result.suggestions] == ["you"]
    assert created.session.state.position == got.session.state.position == 3
    assert created.session.model == "keyboard@1"
    assert exported.blob == b"sealed"
    for each in (forked, exported, imported):
        assert (each.session.session_id, each.session.state.position) == ("s", 3)


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (SessionNotFound("gone", reason="SESSION_EXPIRED"), grpc.StatusCode.NOT_FOUND, "SESSION_EXPIRED"),
        (RevisionConflict("old"), grpc.StatusCode.ABORTED, "REVISION_CONFLICT"),
        (ValueError("a bug"), grpc.StatusCode.INTERNAL, "INTERNAL"),
    ],
)
async def test_a_failure_is_the_status_of_the_call(
    registry: Registry, error: Exception, code: grpc.StatusCode, reason: str
) -> None:
    """What the engine answers as an exception ends the call, with its details."""
    async with stage(registry, play=lambda ticket: error) as on:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await online_pb2_grpc.OnlineServiceStub(on.channel).Write(MOVE)
    assert caught.value.code() is code
    assert reason_of(status_of(caught.value)) == reason


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (Overloaded("full", reason="QUEUE_FULL", retry_after_seconds=1), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (Draining(), grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_a_full_or_leaving_engine_refuses(
    registry: Registry, refusal: Any, code: grpc.StatusCode
) -> None:
    """What `submit` raises is answered at once."""
    async with stage(registry) as on:
        on.engine.refusal = refusal
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await online_pb2_grpc.OnlineServiceStub(on.channel).Write(MOVE)
    assert caught.value.code() is code


async def test_fields_of_a_unary_call_have_plain_names(registry: Registry) -> None:
    """A refused field is named as in its message, without the path of a stream."""
    async with stage(registry) as on:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await online_pb2_grpc.OnlineServiceStub(on.channel).Write(
                ONLINE.WriteRequest(write={"session_id": "s", "at": -1})
            )
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_of(status_of(caught.value)) == ["at"]


async def test_an_empty_request_names_what_is_missing(registry: Registry) -> None:
    """Neither Write nor Suggest takes an empty message."""
    async with stage(registry) as on:
        stub = online_pb2_grpc.OnlineServiceStub(on.channel)
        for call, field in ((stub.Write(online_pb2.WriteRequest()), "write"),):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert fields_of(status_of(caught.value)) == [field]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Suggest(online_pb2.SuggestRequest())
        assert fields_of(status_of(caught.value)) == ["suggest"]


async def test_ten_megabytes_of_text_are_told_the_limit(registry: Registry) -> None:
    """The answer is ours, with the limit, and not gRPC's about the size of messages."""
    request = ONLINE.WriteRequest(write={"session_id": "s", "text": "x" * 10_000_000})
    async with stage(registry) as on:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await online_pb2_grpc.OnlineServiceStub(on.channel).Write(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(status_of(caught.value)) == "INPUT_TOO_LONG"
    assert "65536" in (caught.value.details() or "")


LARGE = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
]


async def test_the_largest_export_fits_into_a_message_either_way(registry: Registry) -> None:
    """What ExportSession may give, ImportSession takes."""
    arrived: list[object] = []

    def play(ticket: Ticket) -> object:
        if isinstance(ticket.operation, ExportSession):
            return SessionExport(blob=bytes(MAX_BLOB_BYTES), view=replace(VIEW, session_id="s" * 128))
        arrived.append(ticket.operation)
        return VIEW

    async with stage(registry, play=play, channel_options=LARGE) as on:
        stub = online_pb2_grpc.OnlineServiceStub(on.channel)
        exported = await stub.ExportSession(online_pb2.ExportSessionRequest(session_id="s"))
        await stub.ImportSession(
            online_pb2.ImportSessionRequest(blob=exported.blob, session_id="s" * 128, request_id="􏿿" * 128)
        )
    assert arrived == [ImportSession(blob=bytes(MAX_BLOB_BYTES), session_id="s" * 128, request_id="􏿿" * 128)]


async def test_an_export_that_fits_into_no_message_is_refused_with_its_size(registry: Registry) -> None:
    """The answer is ours and says what can be done."""
    export = SessionExport(blob=bytes(MAX_BLOB_BYTES + 1), view=VIEW)
    async with stage(registry, play=lambda ticket: export, channel_options=LARGE) as on:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await online_pb2_grpc.OnlineServiceStub(on.channel).ExportSession(
                online_pb2.ExportSessionRequest(session_id="s")
            )
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(status_of(caught.value)) == "OUTPUTS_TOO_LARGE"
    assert str(MAX_BLOB_BYTES + 1) in (caught.value.details() or "")


async def test_the_shorter_of_timeout_and_deadline_counts(registry: Registry) -> None:
    """The engine is told by when the operation has to have begun."""
    async with stage(registry, play=lambda ticket: write_result()) as on:
        stub = online_pb2_grpc.OnlineServiceStub(on.channel)
        seen: list[Ticket] = []

        def remember(ticket: Ticket) -> WriteResult:
            seen.append(ticket)
            return write_result()

        on.engine.play = remember
        timed = ONLINE.WriteRequest(write={"session_id": "s", "at": 0, "timeout": {"seconds": 40}})
        await stub.Write(timed, timeout=500)
        await stub.Write(timed, timeout=20)
        await stub.Write(MOVE)
    spans = [
        None if ticket.deadline_seconds is None else ticket.deadline_seconds - ticket.received_seconds
        for ticket in seen
    ]
    assert spans[0] == pytest.approx(40)
    assert spans[1] == pytest.approx(20, abs=5)
    assert spans[2] is None


async def test_the_answer_for_a_caller_who_left_is_counted(registry: Registry) -> None:
    """A cancelled call leaves its operation in the engine, and its answer is dropped and counted."""
    async with stage(registry) as on:
        call = online_pb2_grpc.OnlineServiceStub(on.channel).Write(MOVE)
        running = asyncio.ensure_future(call)
        await on.engine.until_submitted(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await on.departure.finished(10)
        on.engine.answer(write_result())
        assert on.happenings.counts == {Happening.DROPPED_CANCELLED: 1}


@pytest.mark.parametrize(("leaves", "code"), [(True, "CANCELLED"), (False, "DEADLINE_EXCEEDED")])
async def test_an_operation_that_is_too_slow_is_no_caller_that_left(
    registry: Registry, leaves: bool, code: str
) -> None:
    """gRPC ends both in the same way; only the former is a failure of the server's."""
    async with stage(registry) as on:
        stub: Any = online_pb2_grpc.OnlineServiceStub(on.channel)
        call = stub.Write(MOVE, timeout=None if leaves else 0.1)
        await on.engine.until_submitted(1)
        if leaves:
            call.cancel()
        async with asyncio.timeout(20):
            while on.metrics.requests.in_flight:  # noqa: ASYNC110 - the end of a call sets no event
                await asyncio.sleep(0.001)
        value = on.metrics.registry.get_sample_value
        counted = {
            name: value("gatehouse_operations_total", {"operation": "write", "code": name})
            for name in ("CANCELLED", "DEADLINE_EXCEEDED")
        }
        assert {name: count for name, count in counted.items() if count} == {code: 1}


async def test_a_generation_whose_connection_ends_is_cancelled(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As call and as operation, also where gRPC fails a write before it tells that the caller has left."""
    running = asyncio.Event()

    async def lost(*_: object) -> None:
        running.set()
        raise grpc.aio.InternalError("Failed to write")

    monkeypatch.setattr(Generation, "run", lost)
    async with stage(registry) as on:
        call = online_pb2_grpc.OnlineServiceStub(on.channel).Generate(
            online_pb2.GenerateRequest(model="keyboard")
        )
        await running.wait()
        assert await on.departure.finished(10)
        call.cancel()
    value = on.metrics.registry.get_sample_value
    method = "gatehouse.v1.OnlineService/Generate"
    assert value("gatehouse_operations_total", {"operation": "generate", "code": "CANCELLED"}) == 1
    assert value("gatehouse_requests_total", {"method": method, "code": "CANCELLED"}) == 1
    assert caplog.records == []
