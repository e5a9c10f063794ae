"""AdminService: the sessions of all users on a port of its own, page by page."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest
from gatehouse.v1 import admin_pb2, admin_pb2_grpc, online_pb2, online_pb2_grpc
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import SessionNotFound, StoreUnavailable
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.operations import (
    DescribeResidents,
    EvictSession,
    InspectSession,
    ListResidents,
    ListStored,
)
from gatehouse_server.sessions.results import ResidentIds, SessionDeleted, SessionLine, SessionLines, Tier
from gatehouse_server.transport.admin import PAGE_SESSIONS
from gatehouse_server.transport.server import ADMIN_SERVICES, SERVICES
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.transport.stage import Stage, fields_of, reason_of, stage, status_of


def line(session_id: str, tier: Tier = "live", model: str = "keyboard@1") -> SessionLine:
    """What a session might be told as."""
    return SessionLine(
        session_id=session_id,
        model=model,
        tier=tier,
        incarnation=2,
        revision=5,
        position=9,
        durable_revision=4,
        expires_in_seconds=60.0,
        size_bytes=1234,
    )


def house(resident: Sequence[SessionLine], stored: Sequence[SessionLine]) -> Callable[[Ticket], object]:
    """A server with these sessions in memory and these in its store, as the sessions' lane answers for it."""
    residents = {each.session_id: each for each in resident}
    by_id = sorted(stored, key=lambda each: each.session_id)

    def play(ticket: Ticket) -> object:
        operation = ticket.operation
        if isinstance(operation, ListResidents):
            return ResidentIds(session_ids=tuple(residents))
        if isinstance(operation, DescribeResidents):
            assert len(operation.session_ids) <= PAGE_SESSIONS
            found = [residents[each] for each in operation.session_ids if each in residents]
            return SessionLines(lines=tuple(found))
        assert isinstance(operation, ListStored)
        assert operation.limit <= PAGE_SESSIONS
        page = [each for each in by_id if each.session_id > operation.after][: operation.limit]
        return SessionLines(lines=tuple(page), last=page[-1].session_id if page else None)

    return play


async def listed(on: Stage, model: str = "") -> list[list[str]]:
    """The identifiers that ListSessions tells, message by message, but for messages without any."""
    call = admin_pb2_grpc.AdminServiceStub(on.admin_channel).ListSessions(
        admin_pb2.ListSessionsRequest(model=model)
    )
    return [[each.session_id for each in response.sessions] async for response in call if response.sessions]


async def test_every_session_is_listed_once(registry: Registry) -> None:
    """Those in memory first; the store has them too, and tells only the others, by identifier."""
    stored = [line(each, "store") for each in "dcba"]
    async with stage(registry, play=house([line("b"), line("x"), line("c", "host")], stored)) as on:
        assert await listed(on) == [["b", "x", "c"], ["a", "d"]]


async def test_without_sessions_the_list_is_empty(registry: Registry) -> None:
    """Nothing is no error."""
    async with stage(registry, play=house([], [])) as on:
        assert await listed(on) == []


async def test_many_sessions_come_in_pages(registry: Registry) -> None:
    """No message and no turn of the engine is about more than a page."""
    count = 2 * PAGE_SESSIONS + 1
    resident = [line(f"m{number:05}") for number in range(count)]
    stored = [line(f"s{number:05}", "store") for number in range(count)]
    async with stage(registry, play=house(resident, stored)) as on:
        pages = await listed(on)
    assert [len(page) for page in pages] == [PAGE_SESSIONS, PAGE_SESSIONS, 1] * 2
    assert [each for page in pages for each in page] == [each.session_id for each in (*resident, *stored)]


async def test_a_session_that_left_memory_meanwhile_is_told_from_the_store(registry: Registry) -> None:
    """Between the list of identifiers and the lines a session may move; it is neither lost nor doubled."""
    play = house([line("a")], [line("b", "store")])

    def moved(ticket: Ticket) -> object:
        if isinstance(ticket.operation, ListResidents):
            return ResidentIds(session_ids=("a", "b", "gone"))
        return play(ticket)

    async with stage(registry, play=moved) as on:
        assert await listed(on) == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("keyboard", [["k1", "k2"], ["k3"]]),
        ("keyboard@1", [["k1"], ["k3"]]),
        ("keyboard@2", [["k2"]]),
        ("key", []),
        ("keyboard@", []),
        ("@1", []),
        ("nobody", []),
    ],
)
async def test_a_model_chooses_by_name_or_by_version(
    registry: Registry, model: str, expected: list[list[str]]
) -> None:
    """A part of a name chooses nothing."""
    resident = [line("k1"), line("k2", model="keyboard@2"), line("t1", model="topics@1")]
    stored = [line("k3", "store"), line("k1", "store"), line("t2", "store", model="topics@1")]
    async with stage(registry, play=house(resident, stored)) as on:
        assert await listed(on, model) == expected


async def test_pages_without_a_match_are_told_as_a_sign_of_life(registry: Registry) -> None:
    """Whoever waits for the one session of a model among a million knows that the server goes on looking."""
    stored = [line(f"s{number:05}", "store") for number in range(2 * PAGE_SESSIONS)]
    async with stage(registry, play=house([], stored)) as on:
        call = admin_pb2_grpc.AdminServiceStub(on.admin_channel).ListSessions(
            admin_pb2.ListSessionsRequest(model="nobody")
        )
        assert [len(response.sessions) async for response in call] == [0, 0, 0]


async def test_a_store_that_is_down_ends_the_list_after_what_is_in_memory(registry: Registry) -> None:
    """The operator sees what there is, and that it is not all."""
    play = house([line("a")], [])

    def down(ticket: Ticket) -> object:
        return StoreUnavailable("no answer") if isinstance(ticket.operation, ListStored) else play(ticket)

    async with stage(registry, play=down) as on:
        call = admin_pb2_grpc.AdminServiceStub(on.admin_channel).ListSessions(admin_pb2.ListSessionsRequest())
        responses = aiter(call)
        assert [each.session_id for each in (await anext(responses)).sessions] == ["a"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(responses)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(status_of(caught.value)) == "STORE_UNAVAILABLE"


async def test_a_list_that_is_left_asks_no_further(registry: Registry) -> None:
    """When the operator has gone, the engine is asked for no more pages."""
    async with stage(registry) as on:
        call = admin_pb2_grpc.AdminServiceStub(on.admin_channel).ListSessions(admin_pb2.ListSessionsRequest())
        reading = asyncio.ensure_future(anext(aiter(call)))
        await on.engine.until_submitted(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await asked(on.admin_channel, "")  # by now the server knows that the call was cancelled
        on.engine.answer(ResidentIds(session_ids=("a",)))
        await asked(on.admin_channel, "")
        assert on.engine.submitted == 1


async def test_a_line_is_told_whole(registry: Registry) -> None:
    """Identifier, model, tier, state and size; nothing is left of what its user wrote."""

    def play(ticket: Ticket) -> object:
        assert ticket.operation == InspectSession(session_id="s")
        return line("s", "host")

    async with stage(registry, play=play) as on:
        response = await admin_pb2_grpc.AdminServiceStub(on.admin_channel).InspectSession(
            admin_pb2.InspectSessionRequest(session_id="s")
        )
    told = response.session
    assert (told.session_id, told.model, told.size_bytes) == ("s", "keyboard@1", 1234)
    assert told.tier == admin_pb2.SESSION_TIER_HOST
    state = told.state
    assert (state.incarnation, state.revision, state.position, state.durable_revision) == (2, 5, 9, 4)
    assert state.HasField("expire_time")


@pytest.mark.parametrize(
    ("tier", "told"),
    [
        ("live", admin_pb2.SESSION_TIER_LIVE),
        ("host", admin_pb2.SESSION_TIER_HOST),
        ("store", admin_pb2.SESSION_TIER_STORE),
    ],
)
async def test_each_tier_has_its_name(registry: Registry, tier: Tier, told: int) -> None:
    """All three."""
    async with stage(registry, play=lambda ticket: line("s", tier)) as on:
        response = await admin_pb2_grpc.AdminServiceStub(on.admin_channel).InspectSession(
            admin_pb2.InspectSessionRequest(session_id="s")
        )
    assert response.session.tier == told


async def test_evicting_ends_the_session_that_is_named(registry: Registry) -> None:
    """The engine is asked for that one, and its refusal is the status of the call."""
    seen: list[object] = []

    def play(ticket: Ticket) -> object:
        seen.append(ticket.operation)
        if len(seen) > 1:
            return SessionNotFound("gone", reason="SESSION_EVICTED")
        return SessionDeleted(session_id="s")

    async with stage(registry, play=play) as on:
        stub = admin_pb2_grpc.AdminServiceStub(on.admin_channel)
        await stub.EvictSession(admin_pb2.EvictSessionRequest(session_id="s"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.EvictSession(admin_pb2.EvictSessionRequest(session_id="s"))
    assert seen == [EvictSession(session_id="s")] * 2
    assert reason_of(status_of(caught.value)) == "SESSION_EVICTED"


async def test_bad_requests_name_the_field(registry: Registry) -> None:
    """No identifier, one with control characters, a model's name that none can have."""
    async with stage(registry) as on:
        stub = admin_pb2_grpc.AdminServiceStub(on.admin_channel)
        bad: list[tuple[Any, str]] = [
            (stub.InspectSession(admin_pb2.InspectSessionRequest()), "session_id"),
            (stub.EvictSession(admin_pb2.EvictSessionRequest(session_id="a\tb")), "session_id"),
            (anext(aiter(stub.ListSessions(admin_pb2.ListSessionsRequest(model="m" * 129)))), "model"),
        ]
        for call, field in bad:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert fields_of(status_of(caught.value)) == [field]


async def test_neither_port_serves_what_belongs_to_the_other(registry: Registry) -> None:
    """Users cannot reach AdminService, and operators' port has no sessions of its own."""
    async with stage(registry) as on:
        calls: list[Any] = [
            admin_pb2_grpc.AdminServiceStub(on.channel).EvictSession(
                admin_pb2.EvictSessionRequest(session_id="s")
            ),
            online_pb2_grpc.OnlineServiceStub(on.admin_channel).GetSession(
                online_pb2.GetSessionRequest(session_id="s")
            ),
        ]
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert on.engine.submitted == 0


async def test_each_port_tells_of_its_own_services(registry: Registry) -> None:
    """Health and reflection know what is served there, and nothing else."""
    async with stage(registry) as on:
        for channel, own, foreign in (
            (on.channel, SERVICES, ADMIN_SERVICES),
            (on.admin_channel, ADMIN_SERVICES, SERVICES),
        ):
            for name in ("", *own):
                assert await asked(channel, name) == health_pb2.HealthCheckResponse.SERVING
            for name in foreign:
                with pytest.raises(grpc.aio.AioRpcError):
                    await asked(channel, name)
            reflected = await reflected_services(channel)
            assert {*own, "grpc.health.v1.Health"} <= reflected
            assert not reflected & set(foreign)


async def asked(channel: grpc.aio.Channel, service: str) -> Any:
    """The health of a name."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


async def reflected_services(channel: Any) -> set[str]:
    """The services that reflection lists."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = [each async for each in stub.ServerReflectionInfo(iter([question]))]
    return {service.name for service in answers[0].list_services_response.service}
