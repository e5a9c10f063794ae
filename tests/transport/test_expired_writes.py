"""Work that nobody waits for any more is dropped before it is computed, and counted."""

import asyncio

import grpc.aio
from gatehouse.v1 import online_pb2
from gatehouse_server.engine.loop import Answers, Engine, Lane, deliver_to_sinks
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.lane import SessionLane
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import CreateSession
from gatehouse_server.telemetry.metrics import Metrics
from gatehouse_server.transport.departure import Departure
from gatehouse_server.transport.online_stream import OnlineStream, StreamLimits
from gatehouse_server.transport.output_sizes import OutputSizes
from gatehouse_server.transport.replies import ask
from google.protobuf.duration_pb2 import Duration


class PlayedCall:
    """Stands for gRPC's context: one request, then the end."""

    def __init__(self, request: online_pb2.StreamRequest) -> None:
        self._requests = [request]
        self.results: list[online_pb2.StreamResult] = []

    async def read(self) -> object:
        return self._requests.pop() if self._requests else grpc.aio.EOF

    async def write(self, message: online_pb2.StreamResponse) -> None:
        self.results += message.results

    def time_remaining(self) -> None:
        return None


def _write(tag: int, timeout: Duration | None) -> online_pb2.StreamOperation:
    write = online_pb2.SessionWrite(
        session_id="s", tokens=online_pb2.TokenSequence(ids=[14]), timeout=timeout
    )
    return online_pb2.StreamOperation(tag=tag, write=write)


async def test_a_write_whose_time_ran_out_in_the_queue_is_not_computed(registry: Registry) -> None:
    """Its result says so, /metrics counts it as dropped, and of the two writes only the patient one is a step."""
    loop, metrics, now_seconds = asyncio.get_running_loop(), Metrics(), 100.0

    def clock() -> float:
        return now_seconds

    def deliver(answers: Answers) -> None:
        loop.call_soon_threadsafe(deliver_to_sinks, answers)

    lane = SessionLane(
        registry=registry,
        limits=SessionLimits(),
        batching=OnlineBatching(),
        observer=metrics.engine,
        clock=clock,
    )
    lanes: dict[type, Lane] = dict.fromkeys(SessionLane.operations, lane)
    engine = Engine(lanes=lanes, observer=metrics.engine, deliver=deliver, clock=clock)
    creating = asyncio.create_task(
        ask(
            engine,
            metrics.engine,
            CreateSession(model="keyboard", session_id="s"),
            remaining_seconds=None,
        )
    )
    await asyncio.sleep(0)
    call = PlayedCall(online_pb2.StreamRequest(operations=[_write(1, Duration(seconds=2)), _write(2, None)]))
    stream = OnlineStream(
        call,
        engine=engine,
        limits=StreamLimits(),
        sizes=OutputSizes(registry, max_bytes=3 * 2**20),
        observer=metrics.engine,
        metrics=metrics.requests,
        client="",
    )
    conversation = asyncio.create_task(stream.converse(Departure()))
    while engine.unanswered < 3:  # noqa: ASYNC110 - the engine sets no event
        await asyncio.sleep(0)
    now_seconds += 2.0
    engine.start()
    try:
        await creating
        await conversation
    finally:
        engine.stop(10)
    assert [(each.tag, grpc_code(each)) for each in call.results] == [(1, "DEADLINE_EXCEEDED"), (2, "OK")]
    value, model = metrics.registry.get_sample_value, {"model": "keyboard", "version": "1"}
    assert value("gatehouse_dropped_total", {"reason": "deadline"}) == 1
    assert value("gatehouse_online_steps_total", model) == 1


def grpc_code(result: online_pb2.StreamResult) -> str:
    """The name of a result's code."""
    return next(code.name for code in grpc.StatusCode if code.value[0] == result.status.code)
