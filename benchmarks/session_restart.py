"""A real server killed with 10,000 sessions in SQLite: how long until it answers again, and until it answered all.

Every session has 50 tokens. After the kill a client sends each one's next write; the server says that the session began
a new life, and the client sends the write again. All sessions are on one stream, 512 writes under way at most.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from gatehouse.v1 import online_pb2, online_pb2_grpc
from gatehouse_server.stores.sqlite import SqliteStore
from google.rpc import error_details_pb2

from benchmarks.hand import K, timed
from benchmarks.made_sessions import TAPE_STEPS, random_tokens
from benchmarks.server_process import free_port, gatehouse_command

SESSIONS = 10_000

_UNDER_WAY = 512
_CALLS_AT_ONCE = 128
_PATIENCE_SECONDS = 120.0

Row = dict[str, Any]


@dataclass
class Written:
    """A session as its client knows it."""

    session_id: str
    incarnation: int
    revision: int
    position: int
    durable_revision: int = 0

    def next_write(self, tag: int) -> online_pb2.StreamOperation:
        """Its next token."""
        return online_pb2.StreamOperation(
            tag=tag,
            write=online_pb2.SessionWrite(
                session_id=self.session_id,
                incarnation=self.incarnation,
                revision=self.revision + 1,
                at=self.position,
                tokens=online_pb2.TokenSequence(ids=random_tokens(1)),
                outputs=online_pb2.OutputOptions(k=K),
            ),
        )

    def learn(self, result: online_pb2.StreamResult) -> bool:
        """Whether the write was applied. Otherwise the session began a new life: the write is to be sent again."""
        if not result.status.code:
            state = result.write.state
            self.revision, self.position = state.revision, state.position
            self.durable_revision = state.durable_revision
            return True
        for detail in result.status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info) and info.reason == "STATE_BEHIND":
                told = int(info.metadata["revision"]), int(info.metadata["position"])
                if told != (self.revision, self.position):
                    raise RuntimeError(f"lost writes: the server has {told} of {self}")
                self.incarnation = int(info.metadata["incarnation"])
                return False
        raise RuntimeError(f"a write failed: {result.status}")


def measure(folder: Path) -> list[Row]:
    """Starts, fills, kills, starts again."""
    models = folder.parent.parent
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "sessions.db"
        store = f"sqlite:{file}"
        with _server(models, "memory") as (target, began):
            empty_seconds = _until_connected(target) - began
        with _server(models, store) as (target, _):
            _until_connected(target)
            filling, sessions = timed(lambda: asyncio.run(_fill(target, folder.parent.name)))
        copy = Path(scratch) / "copy.db"
        for path in file.parent.glob("sessions.db*"):
            shutil.copy(path, copy.with_name(path.name.replace("sessions", "copy")))
        opening, opened = timed(lambda: SqliteStore(copy))
        opened.close()
        with _server(models, store) as (target, began):
            connected = _until_connected(target) - began
            answered = asyncio.run(_write_all(target, sessions))
        return [
            {
                "sessions": SESSIONS,
                "tape_steps": TAPE_STEPS,
                "file_bytes": file.stat().st_size,
                "filling_seconds": round(filling.seconds, 2),
                "opening_store_seconds": round(opening.seconds, 3),
                "start_without_sessions_seconds": round(empty_seconds, 2),
                "start_to_connected_seconds": round(connected, 2),
                "start_to_first_answer_seconds": round(answered[0] - began, 2),
                "start_to_last_answer_seconds": round(answered[-1] - began, 2),
                "first_to_last_answer_seconds": round(answered[-1] - answered[0], 2),
            }
        ]


@contextmanager
def _server(models: Path, store: str) -> Iterator[tuple[str, float]]:
    """A server process that ends by kill -9: its port, and when it was started."""
    port = free_port()
    began = time.perf_counter()
    process = subprocess.Popen(
        gatehouse_command(models, port, "--state-store", store),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"127.0.0.1:{port}", began
    finally:
        process.kill()
        process.wait()


def _until_connected(target: str) -> float:
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 50)]
    with grpc.insecure_channel(target, options=options) as channel:
        grpc.channel_ready_future(channel).result(timeout=_PATIENCE_SECONDS)
    return time.perf_counter()


async def _fill(target: str, model: str) -> list[Written]:
    """Makes the sessions from one export, and waits until the store has all that they wrote."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub: online_pb2_grpc.OnlineServiceAsyncStub = online_pb2_grpc.OnlineServiceStub(channel)
        made = await stub.CreateSession(online_pb2.CreateSessionRequest(model=model))
        first = await stub.Write(
            online_pb2.WriteRequest(
                write=online_pb2.SessionWrite(
                    session_id=made.session.session_id,
                    tokens=online_pb2.TokenSequence(ids=random_tokens(TAPE_STEPS - 1)),
                )
            )
        )
        if first.result.state.position != TAPE_STEPS - 1:
            raise RuntimeError(f"the first write went wrong: {first}")
        export = await stub.ExportSession(online_pb2.ExportSessionRequest(session_id=made.session.session_id))
        gate = asyncio.Semaphore(_CALLS_AT_ONCE)

        async def take_in() -> Written:
            async with gate:
                there = await stub.ImportSession(online_pb2.ImportSessionRequest(blob=export.blob))
            state = there.session.state
            return Written(there.session.session_id, state.incarnation, state.revision, state.position)

        sessions = await asyncio.gather(*(take_in() for _ in range(SESSIONS)))
    await _write_all(target, sessions)
    await _until_durable(target, sessions)
    return sessions


async def _until_durable(target: str, sessions: Iterable[Written]) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        stub: online_pb2_grpc.OnlineServiceAsyncStub = online_pb2_grpc.OnlineServiceStub(channel)
        until = time.perf_counter() + _PATIENCE_SECONDS
        for session in sessions:
            while session.durable_revision < session.revision:
                if time.perf_counter() > until:
                    raise RuntimeError("the store does not get on")
                there = await stub.GetSession(online_pb2.GetSessionRequest(session_id=session.session_id))
                session.durable_revision = there.session.state.durable_revision


async def _write_all(target: str, sessions: list[Written]) -> list[float]:
    """One write of each session; when each was answered."""
    answered: list[float] = []
    async with grpc.aio.insecure_channel(target) as channel:
        stub: online_pb2_grpc.OnlineServiceAsyncStub = online_pb2_grpc.OnlineServiceStub(channel)
        call = stub.Stream()
        ready = list(range(min(_UNDER_WAY, len(sessions))))
        next_tag = len(ready)
        while len(answered) < len(sessions):
            if ready:
                await call.write(
                    online_pb2.StreamRequest(operations=[sessions[tag].next_write(tag) for tag in ready])
                )
            response = await call.read()
            if not isinstance(response, online_pb2.StreamResponse):
                raise RuntimeError(f"the stream ended: {await call.details()}")
            ready = []
            for result in response.results:
                if not sessions[result.tag].learn(result):
                    ready.append(result.tag)
                    continue
                answered.append(time.perf_counter())
                if next_tag < len(sessions):
                    ready.append(next_tag)
                    next_tag += 1
        await call.done_writing()
    return answered
