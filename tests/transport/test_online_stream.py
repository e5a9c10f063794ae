"""One stream: results together, bad operations alone, bounded on both sides, nothing undone when it ends."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from gatehouse.v1 import online_pb2, online_pb2_grpc
from gatehouse_server.engine.observer import Happening
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import InvalidInput, Overloaded
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.results import StepOutput, WriteResult

from tests.transport.stage import STATE, TIMING, fields_of, reason_of, write_result
from tests.transport.streams import ONLINE, received, request, streaming, write


async def test_what_one_tick_finishes_leaves_in_one_message(registry: Registry) -> None:
    """Three writes of a message are submitted at once, and answered in one message with their tags."""
    async with streaming(registry) as (on, call):
        await call.write(request(write(5, "a"), write(5, "b"), write(-7, "c")))
        await on.engine.until_submitted(3)
        on.engine.answer(write_result("a"), write_result("b"), write_result("c"))
        message = await received(call)
        assert on.engine.batches == [3]
        assert [(each.tag, each.write.session_id) for each in message.results] == [
            (5, "a"),
            (5, "b"),
            (-7, "c"),
        ]


async def test_operations_say_which_connection_they_come_from(registry: Registry) -> None:
    """Streams and single calls of a connection have the same name, another connection has another."""
    async with streaming(registry) as (on, call):
        clients: list[str] = []

        def play(ticket: Ticket) -> WriteResult:
            clients.append(ticket.client)
            return write_result()

        on.engine.play = play
        await call.write(request(write(1)))
        await received(call)
        alone = ONLINE.WriteRequest(write={"session_id": "s", "at": 0})
        await online_pb2_grpc.OnlineServiceStub(on.channel).Write(alone)
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{on.port}", options=options) as other:
            await online_pb2_grpc.OnlineServiceStub(other).Write(alone)
        assert clients[0]
        assert clients[0] == clients[1] != clients[2]


async def test_a_bad_operation_fails_alone(registry: Registry) -> None:
    """Its result has the path of the field; its neighbours in the message are applied."""
    async with streaming(registry) as (on, call):
        on.engine.play = lambda ticket: write_result(ticket.operation.session_id)
        nothing = ONLINE.StreamOperation(tag=3)
        await call.write(request(write(1, "a"), write(2, "b", at=-1), nothing, write(4, "d")))
        results: dict[int, online_pb2.StreamResult] = {}
        while len(results) < 4:
            results.update({each.tag: each for each in (await received(call)).results})
        assert {tag for tag, each in results.items() if each.HasField("status")} == {2, 3}
        assert fields_of(results[2].status) == ["operations[1].write.at"]
        assert fields_of(results[3].status) == ["operations[2].operation"]


async def test_a_refusal_of_the_engine_has_the_path_too(registry: Registry) -> None:
    """Fields that a session finds wrong are named as those that the decoder finds wrong."""
    async with streaming(registry) as (on, call):
        on.engine.play = lambda ticket: InvalidInput.of_field("tokens.ids[3]", "too large")
        await call.write(request(write(1)))
        result = (await received(call)).results[0]
        assert fields_of(result.status) == ["operations[0].write.tokens.ids[3]"]


async def test_writes_before_half_close_are_answered(registry: Registry) -> None:
    """A client may send many writes, close its side, and read all answers until the stream ends with OK."""
    async with streaming(registry) as (on, call):
        await call.write(request(*(write(tag, f"s{tag}") for tag in range(20))))
        await call.done_writing()
        await on.engine.until_submitted(20)
        on.engine.answer(*[write_result()] * 20)
        assert len((await received(call)).results) == 20
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_a_cancelled_stream_undoes_nothing(registry: Registry) -> None:
    """What was submitted goes on in the engine; answers are dropped and counted."""
    async with streaming(registry) as (on, call):
        await call.write(request(write(1, "a"), write(2, "b")))
        await on.engine.until_submitted(2)
        call.cancel()
        assert await on.departure.finished(10)
        assert len(on.engine.waiting) == 2
        on.engine.answer(write_result(), write_result())
        assert on.happenings.counts == {Happening.DROPPED_CANCELLED: 2}


async def test_one_session_cannot_have_more_unanswered_than_allowed(registry: Registry) -> None:
    """Beyond the limit the rest waits unread; each answer lets one more in, in order."""
    async with streaming(registry, max_unanswered_per_session=2) as (on, call):
        await call.write(request(*(write(tag) for tag in range(5))))
        await call.write(request(write(9, "other")))
        await on.engine.until_submitted(2)
        await asyncio.sleep(0.05)  # time for a third that must not come
        assert on.engine.submitted == 2
        for finished in range(4):
            on.engine.answer(write_result())
            await on.engine.until_submitted(min(6, finished + 3))
        on.engine.answer(*[write_result()] * 2)
        tags: list[int] = []
        while len(tags) < 6:
            tags += [each.tag for each in (await received(call)).results]
        assert tags == [0, 1, 2, 3, 4, 9]


async def test_one_stream_cannot_have_more_unanswered_than_allowed(registry: Registry) -> None:
    """The limit over all sessions stops reading too."""
    async with streaming(registry, max_unanswered=3) as (on, call):
        for tag in range(5):
            await call.write(request(write(tag, f"s{tag}")))
        await on.engine.until_submitted(3)
        await asyncio.sleep(0.05)  # time for a fourth that must not come
        assert on.engine.submitted == 3
        on.engine.answer(write_result(), write_result())
        await received(call)
        await on.engine.until_submitted(5)


async def test_a_client_that_does_not_read_is_not_read_from(registry: Registry) -> None:
    """With large answers unread, the sender is stopped after a bounded number of writes, and goes on later."""
    vector = np.zeros(50_000, dtype=np.float32)
    result = WriteResult(
        session_id="s", state=STATE, timing=TIMING, steps=(StepOutput(position=1, vector=vector),)
    )
    async with streaming(registry, max_unwritten_bytes=1_000_000) as (on, call):
        on.engine.play = lambda ticket: result

        async def send() -> None:
            for tag in range(2000):
                await call.write(request(write(tag, f"s{tag}")))
            await call.done_writing()

        sending = asyncio.create_task(send())
        stopped_at = await standstill(lambda: on.engine.submitted)
        assert stopped_at < 200
        answered = 0
        while answered < 2000:
            answered += len((await received(call)).results)
        await sending


async def standstill(count: Any) -> int:
    """What a counter stops at: unchanged for a while. Slowness can only make the result too small."""
    before, still = -1, 0
    while still < 5:
        await asyncio.sleep(0.05)
        now = count()
        still = still + 1 if now == before and now else 0
        before = now
    return int(before)


async def test_an_answer_that_cannot_be_encoded_costs_only_itself(registry: Registry) -> None:
    """The stream goes on, and the client is told of an internal error under the tag."""
    async with streaming(registry) as (on, call):
        broken = WriteResult(session_id=7, state=STATE, timing=TIMING)  # type: ignore[arg-type]
        on.engine.play = lambda ticket: broken if ticket.operation.session_id == "a" else write_result()
        await call.write(request(write(1, "a"), write(2, "b")))
        first, second = (await received(call)).results
        assert (first.tag, reason_of(first.status)) == (1, "INTERNAL")
        assert (second.tag, second.HasField("status")) == (2, False)


async def test_a_full_queue_fails_the_operations_and_not_the_stream(registry: Registry) -> None:
    """Each has a status with the reason; the stream goes on when there is room again."""
    async with streaming(registry) as (on, call):
        on.engine.refusal = Overloaded("full", reason="QUEUE_FULL", retry_after_seconds=0.1)
        await call.write(request(write(1, "a"), write(2, "b")))
        message = await received(call)
        assert [reason_of(each.status) for each in message.results] == ["QUEUE_FULL"] * 2
        on.engine.refusal, on.engine.play = None, lambda ticket: write_result()
        await call.write(request(write(3, "a")))
        assert not (await received(call)).results[0].HasField("status")


async def test_a_leaving_server_answers_what_it_has_read(registry: Registry) -> None:
    """When it drains, a stream gets the answers under way and then ends with UNAVAILABLE, reason DRAINING."""
    async with streaming(registry) as (on, call):
        await call.write(request(write(1)))
        await on.engine.until_submitted(1)
        on.departure.begin()
        assert not await on.departure.finished(0.05)
        on.engine.answer(write_result())
        assert [each.tag for each in (await received(call)).results] == [1]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await on.departure.finished(5)


async def test_operations_are_counted_with_their_codes(registry: Registry) -> None:
    """Each operation of a stream is in the metrics, not only the stream."""
    async with streaming(registry) as (on, call):
        on.engine.play = lambda ticket: write_result()
        await call.write(request(write(1), write(2, at=-1)))
        seen = 0
        while seen < 2:
            seen += len((await received(call)).results)
        value = on.metrics.registry.get_sample_value
        name = "gatehouse_operations_total"
        assert value(name, {"operation": "write", "code": "OK"}) == 1
        assert value(name, {"operation": "write", "code": "INVALID_ARGUMENT"}) == 1
        assert value("gatehouse_result_seconds_count", {"operation": "write"}) == 2
