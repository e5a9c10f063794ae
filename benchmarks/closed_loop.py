"""Closed loop: every session sends its next step when it has the answer to the last one."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gatehouse.v1 import online_pb2

from benchmarks.walkers import Stub, Walker, Window, answers_of, check


async def walk_stream(stub: Stub, walkers: Sequence[Walker], window: Window) -> None:
    """Sessions that share a stream: what one message answers sends its next steps in one message."""
    by_tag = {walker.tag: walker for walker in walkers}
    call = stub.Stream()
    ready = list(walkers)
    under_way = 0
    while True:
        now = time.monotonic()
        if ready and now < window.end:
            request = online_pb2.StreamRequest(operations=[walker.next_operation() for walker in ready])
            for walker in ready:
                walker.since.append(now)
            under_way += len(ready)
            await call.write(request)
        if not under_way:
            break
        response = await answers_of(call)
        now = time.monotonic()
        ready = [by_tag[result.tag] for result in response.results]
        under_way -= len(ready)
        for walker in ready:
            window.count(now, walker.since.popleft(), now)
    await call.done_writing()


async def walk_calls(stub: Stub, walker: Walker, window: Window) -> None:
    """A session without a stream: a call for each step."""
    while (now := time.monotonic()) < window.end:
        response = await stub.Write(online_pb2.WriteRequest(write=walker.next_write()))
        check(response.result)
        answered = time.monotonic()
        window.count(answered, now, answered)
