"""Users who come in a crowd, use sessions, and go without a word: calls cancelled, streams cut in the middle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from dataclasses import dataclass, field

import grpc
import grpc.aio
from gatehouse.v1 import online_pb2, online_pb2_grpc

WORDS = 60
"""Token ids below this are in the tiny keyboard's vocabulary."""

_PER_CHANNEL = 50
_CHANNELS_AT_ONCE = 4
_LONG_STEPS = 128
_CALLED_STEPS = 30


@dataclass
class Visitors:
    """One crowd after the other on a server, and what they did."""

    target: str
    draw: random.Random = field(default_factory=lambda: random.Random(3))
    cancelled: int = 0
    cut: int = 0
    written: int = 0
    left: int = 0

    async def come(self, sessions: int) -> None:
        """Makes so many sessions and leaves them: used, never used, or in the middle of something. Every other one is
        then deleted, if its time is not up already; the rest have to expire.
        """
        gate = asyncio.Semaphore(_CHANNELS_AT_ONCE)
        async with grpc.aio.insecure_channel(self.target) as channel:
            stub: online_pb2_grpc.OnlineServiceAsyncStub = online_pb2_grpc.OnlineServiceStub(channel)

            async def group() -> None:
                async with gate:
                    made = await self._visit()
                    requests = [online_pb2.DeleteSessionRequest(session_id=each) for each in made[::2]]
                    await asyncio.gather(*(_unless_gone(stub.DeleteSession(request)) for request in requests))

            await asyncio.gather(*(group() for _ in range(sessions // _PER_CHANNEL)))

    async def _visit(self) -> list[str]:
        """One connection, which ends while its stream and some calls are under way; the sessions that it made."""
        async with grpc.aio.insecure_channel(self.target) as channel:
            stub: online_pb2_grpc.OnlineServiceAsyncStub = online_pb2_grpc.OnlineServiceStub(channel)
            made = await asyncio.gather(
                *(
                    stub.CreateSession(online_pb2.CreateSessionRequest(model="keyboard"))
                    for _ in range(_PER_CHANNEL)
                )
            )
            sessions = [each.session.session_id for each in made]
            streamed, called, forked = (
                sessions[:25],
                sessions[25:40],
                sessions[40:45],
            )  # the others rest unused
            await asyncio.gather(*(self._call_and_cancel(stub, session_id) for session_id in called))
            for session_id in forked:
                fork = stub.ForkSession(online_pb2.ForkSessionRequest(session_id=session_id))
                fork.cancel()  # it may be made nevertheless: then nobody knows it
                self.cancelled += 1
            generations = [await self._generate(stub, session_id) for session_id in called[:3]]
            await self._stream(stub.Stream(), streamed)
            assert len(generations) == 3  # they are under way until the connection ends
            self.cut += 1
        return sessions

    async def _call_and_cancel(self, stub: online_pb2_grpc.OnlineServiceAsyncStub, session_id: str) -> None:
        """Two writes that are waited for, and one that is not."""
        for steps in (_CALLED_STEPS, 1):
            write = online_pb2.WriteRequest(write=self._write(session_id, steps))
            applied = await _unless_gone(stub.Write(write))
            self.written += applied
        call = stub.Write(online_pb2.WriteRequest(write=self._write(session_id, _CALLED_STEPS)))
        await asyncio.sleep(0)  # lets the request leave, on most occasions
        call.cancel()
        self.cancelled += 1

    async def _generate(
        self, stub: online_pb2_grpc.OnlineServiceAsyncStub, session_id: str
    ) -> grpc.aio.UnaryStreamCall[online_pb2.GenerateRequest, online_pb2.GenerateResponse]:
        """A generation of which the first step is read."""
        sampling = online_pb2.Sampling(temperature=1000.0)
        call = stub.Generate(
            online_pb2.GenerateRequest(
                session_id=session_id, max_steps=1000, alternatives=3, sampling=sampling
            )
        )
        self.left += await _unless_gone(call.read())
        return call

    async def _stream(
        self,
        call: grpc.aio.StreamStreamCall[online_pb2.StreamRequest, online_pb2.StreamResponse],
        sessions: list[str],
    ) -> None:
        """Many writes, of which the first answers are read."""
        for steps in (_LONG_STEPS, 1, 20, _LONG_STEPS):
            writes = [
                online_pb2.StreamOperation(tag=tag, write=self._write(session_id, steps))
                for tag, session_id in enumerate(sessions)
            ]
            await call.write(online_pb2.StreamRequest(operations=writes))
        answered = 0
        while answered < len(sessions):
            response = await call.read()
            assert isinstance(response, online_pb2.StreamResponse), "the stream has ended"
            answered += len(response.results)
        self.written += answered

    def _write(self, session_id: str, steps: int) -> online_pb2.SessionWrite:
        tokens = online_pb2.TokenSequence(ids=[self.draw.randrange(2, WORDS) for _ in range(steps)])
        return online_pb2.SessionWrite(
            session_id=session_id, tokens=tokens, outputs=online_pb2.OutputOptions(k=3)
        )


async def _unless_gone(call: Awaitable[object]) -> bool:
    """Waits for an answer; false when the session's time was up before, which a slow machine brings about."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.NOT_FOUND:
            raise
        return False
    return True
