"""Documents per second through the service: a real server process with shape R3, and this process as the client.

    python -m benchmarks.documents --json [--documents 3000] [--in-flight 512]

Lengths and token ids are those of `benchmarks.offline`, 16 documents in a message. `beside_online` runs the same while
one session on shape R2 writes step after step, and tells that session's latency alone and beside the documents. The
last line of standard output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from gatehouse.v1 import offline_pb2, offline_pb2_grpc, online_pb2, online_pb2_grpc

from benchmarks.offline import Ids, draw_documents
from benchmarks.online import Measured, Walker, free_port, gatehouse_command, running, walk
from benchmarks.shapes import write_shape

DOCUMENTS_PER_MESSAGE = 16


async def classify(channel: grpc.aio.Channel, documents: Sequence[Ids], in_flight: int) -> float:
    """Sends all documents with so many in flight; documents per second."""
    stub: Any = offline_pb2_grpc.OfflineServiceStub(channel)
    call = stub.ClassifyStream()
    room = asyncio.Semaphore(in_flight)

    async def send() -> None:
        for first in range(0, len(documents), DOCUMENTS_PER_MESSAGE):
            part = documents[first : first + DOCUMENTS_PER_MESSAGE]
            for _ in part:
                await room.acquire()
            message = offline_pb2.ClassifyStreamRequest(model="r3")
            for offset, ids in enumerate(part):
                document = message.documents.add(document_id=str(first + offset))
                document.tokens.ids.extend(ids.tolist())
            await call.write(message)
        await call.done_writing()

    began = time.perf_counter()
    sending = asyncio.create_task(send())
    answered = 0
    while answered < len(documents):
        response = await call.read()
        for result in response.results:
            if result.status.code or not result.scores:
                raise RuntimeError(f"document {result.document_id} failed: {result.status.message}")
            answered += 1
            room.release()
    await sending
    return len(documents) / (time.perf_counter() - began)


async def measure(target: str, documents: Sequence[Ids], in_flight: int) -> dict[str, Any]:
    """Documents alone, a session alone, and both together."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub: Any = online_pb2_grpc.OnlineServiceStub(channel)
        made = await stub.CreateSession(online_pb2.CreateSessionRequest(model="r2"))
        walker = Walker(session_id=made.session.session_id, incarnation=made.session.state.incarnation)
        await classify(channel, documents[: len(documents) // 10], in_flight)  # to warm up
        alone = await classify(channel, documents, in_flight)
        online_alone, online_beside = Measured(), Measured()
        await walk(stub, walker, time.perf_counter() + 4.0, online_alone)
        walking = asyncio.create_task(walk(stub, walker, time.perf_counter() + 3600.0, online_beside))
        beside = await classify(channel, documents, in_flight)
        walking.cancel()
        return {
            "documents_per_second": round(alone, 1),
            "beside_online": {
                "documents_per_second": round(beside, 1),
                "session_alone": online_alone.percentiles(),
                "session_beside": online_beside.percentiles(),
            },
        }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--in-flight", type=int, default=512)
    parser.add_argument("--json", action="store_true", help="print the last line only, as always")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for shape in ("R2", "R3"):
            write_shape(Path(scratch), shape)
        port = free_port()
        target = f"127.0.0.1:{port}"
        with running(gatehouse_command(Path(scratch), port), target):
            results = asyncio.run(
                measure(target, draw_documents(options.documents, seed=1), options.in_flight)
            )
    machine = platform.processor() or platform.machine()
    print(json.dumps({"benchmark": "documents", "machine": machine, "shape": "R3", **results}))


if __name__ == "__main__":
    main()
