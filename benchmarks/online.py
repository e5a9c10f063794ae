"""Steps per second and latency of online writes: a real server process, and this process as the client.

    python -m benchmarks.online --json [--shapes R1,R2] [--sessions 1,8,64,256] [--seconds 4]

Closed loop: every session sends its next step when it has the answer to the last one, asking the five best next
tokens. Regimes: `plain` is the yardstick server of `benchmarks.plain_server`, one stream per session; `streams` is
Gatehouse with one stream per session; `multiplexed` is Gatehouse with all sessions on one stream. The regimes of one
shape and session count run one after the other, `--rounds` times, and the best round of each counts, since other
programs may use the machine: compare ratios. The last line of standard output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import grpc
from gatehouse.v1 import online_pb2, online_pb2_grpc

from benchmarks.shapes import write_shape

K = 5
VOCABULARY = 10_000
Stub: TypeAlias = "online_pb2_grpc.OnlineServiceAsyncStub"
Call: TypeAlias = grpc.aio.StreamStreamCall[online_pb2.StreamRequest, online_pb2.StreamResponse]


@dataclass
class Measured:
    """What one run of a regime gave."""

    steps: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def percentiles(self) -> dict[str, float]:
        """Latencies in milliseconds."""
        ordered = sorted(self.latencies)
        last = len(ordered) - 1
        shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
        return {
            name: round(1000 * ordered[min(last, int(share * len(ordered)))], 3)
            for name, share in shares.items()
        }

    def summary(self) -> dict[str, float]:
        """Steps per second, and latencies in milliseconds."""
        return {"steps_per_second": round(self.steps / self.seconds, 1), **self.percentiles()}


@dataclass
class Walker:
    """A session that takes random steps, each under its revision."""

    session_id: str = "none"
    incarnation: int = 0
    revision: int = 0
    sent_seconds: float = 0.0

    def next_write(self, tag: int) -> online_pb2.StreamOperation:
        """The next step."""
        self.revision += 1
        self.sent_seconds = time.perf_counter()
        return online_pb2.StreamOperation(
            tag=tag,
            write=online_pb2.SessionWrite(
                session_id=self.session_id,
                incarnation=self.incarnation,
                revision=self.revision,
                at=self.revision - 1,
                tokens=online_pb2.TokenSequence(ids=[random.randrange(VOCABULARY)]),
                outputs=online_pb2.OutputOptions(k=K),
            ),
        )


def _check(result: online_pb2.StreamResult) -> None:
    if result.status.code or len(result.write.steps[0].best_ids) != K:
        raise RuntimeError(f"a write failed: {result.status.message or result}")


async def _answer(call: Call) -> online_pb2.StreamResponse:
    response = await call.read()
    if not isinstance(response, online_pb2.StreamResponse):
        raise RuntimeError(f"the stream ended: {await call.details()}")
    return response


async def walk(stub: Stub, walker: Walker, until: float, measured: Measured) -> None:
    """One session on its own stream."""
    call = stub.Stream()
    while time.perf_counter() < until:
        await call.write(online_pb2.StreamRequest(operations=[walker.next_write(0)]))
        response = await _answer(call)
        _check(response.results[0])
        measured.latencies.append(time.perf_counter() - walker.sent_seconds)
    await call.done_writing()


async def _walk_together(stub: Stub, walkers: list[Walker], until: float, measured: Measured) -> None:
    """All sessions on one stream: what is answered by one message sends its next steps in one message."""
    call = stub.Stream()
    ready = list(range(len(walkers)))
    under_way = 0
    while ready or under_way:
        if ready and time.perf_counter() < until:
            operations = [walkers[number].next_write(number) for number in ready]
            under_way += len(operations)
            await call.write(online_pb2.StreamRequest(operations=operations))
        if not under_way:
            break
        response = await _answer(call)
        now = time.perf_counter()
        ready = []
        for result in response.results:
            _check(result)
            measured.latencies.append(now - walkers[result.tag].sent_seconds)
            ready.append(result.tag)
        under_way -= len(ready)
    await call.done_writing()


async def _run(target: str, model: str | None, sessions: int, seconds: float, *, together: bool) -> Measured:
    async with grpc.aio.insecure_channel(target) as channel:
        stub: Stub = online_pb2_grpc.OnlineServiceStub(channel)
        walkers = [Walker() for _ in range(sessions)]
        if model is not None:
            for walker in walkers:
                made = await stub.CreateSession(online_pb2.CreateSessionRequest(model=model))
                walker.session_id = made.session.session_id
                walker.incarnation = made.session.state.incarnation
        measured = Measured()
        for length in (seconds / 4, seconds):  # the first is to warm up
            measured = Measured()
            began = time.perf_counter()
            if together:
                await _walk_together(stub, walkers, began + length, measured)
            else:
                await asyncio.gather(*(walk(stub, walker, began + length, measured) for walker in walkers))
            measured.seconds = time.perf_counter() - began
        measured.steps = len(measured.latencies)
        for walker in walkers if model is not None else ():
            await stub.DeleteSession(online_pb2.DeleteSessionRequest(session_id=walker.session_id))
        return measured


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], target: str) -> Iterator[None]:
    """A server process that is reachable, stopped at the end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with grpc.insecure_channel(target) as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def gatehouse_command(models: Path, port: int, *options: str) -> list[str]:
    """How to start Gatehouse with these models only."""
    return [
        *[
            str(Path(sys.executable).with_name("gatehouse")),
            "serve",
            "--port",
            str(port),
            "--admin-port",
            str(free_port()),
            "--http-port",
            str(free_port()),
        ],
        *["--models", str(models), "--no-embedded-models", *options],
    ]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", default="R1,R2")
    parser.add_argument("--sessions", default="1,8,64,256")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the last line only")
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for shape in options.shapes.split(","):
            folder = write_shape(Path(scratch) / shape, shape)
            ports = {"plain": free_port(), "gatehouse": free_port()}
            plain = [sys.executable, "-m", "benchmarks.plain_server", str(folder), str(ports["plain"])]
            served = gatehouse_command(folder.parent.parent, ports["gatehouse"])
            for sessions in map(int, options.sessions.split(",")):
                best: dict[str, dict[str, float]] = {}
                for _ in range(options.rounds):
                    for regime, command in (("plain", plain), ("streams", served), ("multiplexed", served)):
                        target = f"127.0.0.1:{ports['plain' if regime == 'plain' else 'gatehouse']}"
                        model = None if regime == "plain" else shape.lower()
                        with running(command, target):
                            measured = asyncio.run(
                                _run(
                                    target, model, sessions, options.seconds, together=regime == "multiplexed"
                                )
                            )
                        summary = measured.summary()
                        if (
                            regime not in best
                            or summary["steps_per_second"] > best[regime]["steps_per_second"]
                        ):
                            best[regime] = summary
                for regime, summary in best.items():
                    summary["ratio_to_plain"] = round(
                        summary["steps_per_second"] / best["plain"]["steps_per_second"], 2
                    )
                    results.append({"shape": shape, "sessions": sessions, "regime": regime, **summary})
                    if not options.json:
                        print(results[-1], flush=True)
    machine = platform.processor() or platform.machine()
    print(json.dumps({"benchmark": "online", "machine": machine, "k": K, "results": results}))


if __name__ == "__main__":
    main()
