"""Load on the offline service, as a client process makes it: documents over and over, so many in flight."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from gatehouse.v1 import offline_pb2, offline_pb2_grpc

DOCUMENTS_PER_MESSAGE = 16

_BURST_GAP_SECONDS = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Documents to classify: a JSON file that holds a list of texts, or a list of lists of token ids."""

    model: str
    file: str
    in_flight: int


@dataclass(slots=True, kw_only=True)
class Burst:
    """Answers that came together: those of one batch, usually."""

    first: float
    last: float
    documents: int = 0
    steps: int = 0


class DocumentLoad:
    """The documents of the file in order, again from the beginning when they are through."""

    def __init__(self, asked: Documents, target: str) -> None:
        self._asked = asked
        self._channel = grpc.aio.insecure_channel(target)
        self._messages: list[offline_pb2.ClassifyStreamRequest] = []

    async def prepare(self) -> None:
        """Makes the messages."""
        documents = _read(self._asked.file)
        for first in range(0, len(documents), DOCUMENTS_PER_MESSAGE):
            message = offline_pb2.ClassifyStreamRequest(model=self._asked.model)
            for content in documents[first : first + DOCUMENTS_PER_MESSAGE]:
                document = message.documents.add()
                if isinstance(content, str):
                    document.text = content
                else:
                    document.tokens.ids.extend(content)
            self._messages.append(message)

    async def run(self, begin: float, end: float) -> dict[str, Any]:
        """Classifies from now until `end`.

        Documents are answered batch by batch. Told is what came between the first batch after `begin` and the last one,
        without the first, and how long that was: so many whole batches in so much time. When no two batches came, it is
        what came in all of the time, which is less exact.
        """
        stub: Any = offline_pb2_grpc.OfflineServiceStub(self._channel)
        call = stub.ClassifyStream()
        room = asyncio.Semaphore(self._asked.in_flight)
        numbers = itertools.count()
        bursts: list[Burst] = []

        async def send() -> None:
            for message in itertools.cycle(self._messages):
                for document in message.documents:
                    await room.acquire()
                    document.document_id = str(next(numbers))
                await call.write(message)

        async def read() -> None:
            while isinstance(response := await call.read(), offline_pb2.ClassifyStreamResponse):
                now = time.monotonic()
                if not bursts or now > bursts[-1].last + _BURST_GAP_SECONDS:
                    bursts.append(Burst(first=now, last=now))
                burst = bursts[-1]
                burst.last = now
                for result in response.results:
                    if result.status.code or not result.scores:
                        raise RuntimeError(f"a document failed: {result.status.message}")
                    room.release()
                    burst.documents += 1
                    burst.steps += result.step_count
            raise RuntimeError(f"the stream ended: {await call.details()}")

        tasks = [asyncio.create_task(send()), asyncio.create_task(read())]
        done, _ = await asyncio.wait(
            tasks, timeout=max(0.0, end - time.monotonic()), return_when=asyncio.FIRST_EXCEPTION
        )
        for task in done:
            task.result()
        for task in tasks:
            task.cancel()
        call.cancel()
        return counted([burst for burst in bursts if begin <= burst.first], end - begin)

    async def leave(self) -> None:
        """Hangs up."""
        await self._channel.close()


def counted(bursts: Sequence[Burst], seconds: float) -> dict[str, Any]:
    """What is told of bursts within so many seconds."""
    if len(bursts) > 1:
        seconds = bursts[-1].first - bursts[0].first
        bursts = bursts[1:]
    return {
        "documents": sum(burst.documents for burst in bursts),
        "steps": sum(burst.steps for burst in bursts),
        "seconds": seconds,
    }


def _read(file: str) -> list[str] | list[list[int]]:
    documents: list[str] | list[list[int]] = json.loads(Path(file).read_text(encoding="utf-8"))
    return documents
