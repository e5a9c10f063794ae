"""Bare gRPC: answers each message of a stream at once with bytes made before, as many steps as it holds.

    python -m benchmarks.echo_server PORT

What this server and a client achieve together is what gRPC, its messages and the client allow: nothing is decoded,
computed or remembered. Sessions that share a stream send their steps together, numbered from 0, so that the answer
to so many of them is always the same.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
from gatehouse.v1 import online_pb2
from google.protobuf.duration_pb2 import Duration

from benchmarks.walkers import K

_SERVICE = "gatehouse.v1.OnlineService"


def write_result() -> online_pb2.WriteResult:
    """As long as Gatehouse's own answer to a step."""
    step = online_pb2.StepOutput(
        position=1000,
        best_ids=range(5000, 5000 + K),
        best_log_probabilities=[-9.0] * K,
        best_texts=[f"w{5000 + number}" for number in range(K)],
    )
    result = online_pb2.WriteResult(session_id="0" * 32, steps=[step])
    result.state.incarnation, result.state.revision, result.state.position = 2**62, 1000, 1000
    result.state.expire_time.seconds, result.state.expire_time.nanos = 1_800_000_000, 1_000_000
    result.timing.queue.CopyFrom(Duration(nanos=1_000_000))
    result.timing.compute.CopyFrom(Duration(nanos=1_000_000))
    return result


def operations_in(message: bytes) -> int:
    """How many operations a StreamRequest holds: its field 1, again and again, each with a length before it."""
    count = at = 0
    while at < len(message):
        at += 1
        length = shift = 0
        while True:
            byte = message[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        at += length
        count += 1
    return count


async def serve(port: int) -> None:
    """Serves until it is killed."""
    answers: dict[int, bytes] = {}

    async def stream(_: Any, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        while isinstance(message := await context.read(), bytes):
            count = operations_in(message)
            answer = answers.get(count)
            if answer is None:
                results = [online_pb2.StreamResult(tag=tag, write=write_result()) for tag in range(count)]
                answer = answers[count] = online_pb2.StreamResponse(results=results).SerializeToString()
            await context.write(answer)

    written = online_pb2.WriteResponse(result=write_result()).SerializeToString()

    async def write(request: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return written

    server = grpc.aio.server()
    handlers: dict[str, Any] = {
        "Stream": grpc.stream_stream_rpc_method_handler(stream),
        "Write": grpc.unary_unary_rpc_method_handler(write),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
