"""Classifying a stream of documents with bounded memory (the twin of `gatehouse.classification`).

Two tasks and the caller's share a `Flight`: one takes documents from the caller's iterable, one keeps a
stream to the server (with a third that sends on it), and the caller's takes results. Each waits while there
is no room or nothing to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, Generic

import grpc
from grpc import aio

from gatehouse import documents, failures
from gatehouse.aio.waiting import grpc_failures
from gatehouse.conversation import Request, Response, ResultT
from gatehouse.documents import Document
from gatehouse.errors import ClientClosedError, DeadlineExceededError, GatehouseError, UnavailableError
from gatehouse.flight import Flight
from gatehouse.patience import pauses
from gatehouse.trace_context import trace_context

Source = AsyncIterable[Document | tuple[str, str]] | Iterable[Document | tuple[str, str]]


class ClassificationStream(Generic[ResultT]):
    """Iterate over it once for the results. It ends its tasks when the iteration ends, however it ends."""

    def __init__(
        self,
        method: aio.StreamStreamMultiCallable[Any, Any],
        flight: Flight[ResultT],
        *,
        connect_seconds: float,
        silence_seconds: float,
    ) -> None:
        self._method = method
        self._metadata = trace_context()
        self._flight = flight
        self._connect_seconds = connect_seconds
        self._silence_seconds = silence_seconds
        self._changed = asyncio.Condition()
        self._failure: BaseException | None = None
        self._trouble: GatehouseError | None = None
        self._answers = 0
        self._opened = False

    async def results(self, source: Source) -> AsyncIterator[ResultT]:
        """The results, as `Client.classify` describes them."""
        tasks = (
            asyncio.create_task(self._take_in(source), name="gatehouse-documents"),
            asyncio.create_task(self._keep_connected(), name="gatehouse-results"),
        )
        try:
            while (result := await self._next_result()) is not None:
                yield result
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _next_result(self) -> ResultT | None:
        clock = asyncio.get_running_loop().time
        started = clock()
        async with self._changed:
            while not self._flight.has_ready():
                if self._failure is not None:
                    raise self._failure
                if self._flight.finished():
                    return None
                if not self._flight.has_unanswered():
                    started = clock()  # It is the caller's iterable that is silent.
                remaining = started + self._patience_seconds() - clock()
                if remaining <= 0:
                    raise self._trouble or DeadlineExceededError(
                        f"no result within {self._silence_seconds:g} s while documents are under way"
                    )
                try:
                    async with asyncio.timeout(remaining):
                        await self._changed.wait()
                except TimeoutError:
                    pass  # Looked at above.
            result = self._flight.take()
            self._changed.notify_all()
            return result

    def _patience_seconds(self) -> float:
        # A server that never answered at all is missed sooner than one that has gone away for a while.
        never_there = self._trouble is not None and self._answers == 0
        return min(self._connect_seconds, self._silence_seconds) if never_there else self._silence_seconds

    async def _take_in(self, source: Source) -> None:
        try:
            async for entry in _each(source):
                async with self._changed:
                    await self._changed.wait_for(self._flight.has_room)
                    self._flight.admit(documents.of(entry))
                    self._changed.notify_all()
            async with self._changed:
                self._flight.close_intake()
                self._changed.notify_all()
        # Whatever the caller's iterable raises belongs to the caller's loop over results; CancelledError is what it
        # raises when something that it waits for was cancelled.
        except asyncio.CancelledError as error:
            await self._fail(error)
            raise
        except Exception as error:
            await self._fail(error)

    async def _keep_connected(self) -> None:
        pause = pauses()
        try:
            while not (self._flight.intake_closed() and not self._flight.has_unanswered()):
                answers_before = self._answers
                try:
                    await self._run_stream()
                except ClientClosedError:
                    raise
                except UnavailableError as error:
                    self._trouble = error
                if self._answers > answers_before:
                    pause = pauses()
                self._flight.start_over()
                if self._flight.has_unanswered() or not self._flight.intake_closed():
                    await asyncio.sleep(next(pause))
        except Exception as error:
            await self._fail(error)

    async def _run_stream(self) -> None:
        """One stream until it ends. UnavailableError when it broke or the server goes away."""
        try:
            call = self._method(metadata=self._metadata)
        except aio.UsageError as error:  # the client is closed
            if not self._opened:
                raise
            raise failures.client_closed() from error
        self._opened = True
        sender = asyncio.create_task(self._send(call))
        try:
            with grpc_failures():
                async for response in call:
                    async with self._changed:
                        await self._changed.wait_for(self._flight.may_settle)
                        stays = self._flight.settle(response)
                        self._answers += 1
                        self._trouble = None
                        self._changed.notify_all()
                    if not stays:
                        raise UnavailableError("the server is shutting down", reason="DRAINING")
        finally:
            sender.cancel()
            call.cancel()
            await asyncio.wait((sender,))

    async def _send(
        self,
        call: aio.StreamStreamCall[Request, Response],
    ) -> None:
        flight = self._flight
        try:
            while not flight.all_sent():
                async with self._changed:
                    await self._changed.wait_for(lambda: flight.has_something_to_send() or flight.all_sent())
                    request = flight.next_request()
                    # Documents that cannot be put on the wire have a result already.
                    self._changed.notify_all()
                if request is not None:
                    await call.write(request)
            await call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # The stream has ended; the reading side learns why.
        except Exception as error:
            await self._fail(error)

    async def _fail(self, error: BaseException) -> None:
        async with self._changed:
            self._failure = error
            self._changed.notify_all()


async def _each(source: Source) -> AsyncIterator[Document | tuple[str, str]]:
    if isinstance(source, AsyncIterable):
        async for entry in source:
            yield entry
        return
    # An iterable that is always ready keeps others from running only until there is no room.
    for entry in source:
        yield entry
