"""A client that sends documents and, for a while, reads no results."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from gatehouse.v1 import offline_pb2

SMALL_BUFFERS = (
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 16 * 1024),
    ("grpc.http2.write_buffer_size", 16 * 1024),
)
"""Options of a channel that holds back a few messages, not megabytes."""


async def sent_before_reading(call: Any, messages: Iterable[Any]) -> tuple[int, list[str]]:
    """How many documents could be sent before anything was read; then the ids of all results."""
    sent = 0

    async def send() -> None:
        nonlocal sent
        for message in messages:
            await call.write(message)
            sent += len(message.documents)
        await call.done_writing()

    sending = asyncio.create_task(send())
    before = -1
    while before != sent or not sent:
        before = sent
        await asyncio.sleep(0.5)  # long enough that a sender which is not stopped goes on
    stopped_at = sent
    ids = [result.document_id async for response in call for result in response.results]
    await sending
    return stopped_at, ids


def small_documents(count: int) -> Iterable[list[offline_pb2.Document]]:
    """Documents of 1 KB, four to a message."""
    text = "star galaxy " * 85
    for first in range(0, count, 4):
        ids = (f"document-{first + index:09}" for index in range(4))
        yield [offline_pb2.Document(document_id=document_id, text=text) for document_id in ids]
