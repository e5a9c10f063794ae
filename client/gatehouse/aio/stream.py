"""Many sessions on one stream (the twin of `gatehouse.stream`)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Self, TypeAlias
from weakref import WeakValueDictionary

import grpc
from google.rpc import status_pb2
from grpc import aio

from gatehouse import decoding, failures, requests
from gatehouse.aio.calls import call, insist
from gatehouse.aio.session import Session
from gatehouse.aio.turns import Turn
from gatehouse.errors import DeadlineExceededError
from gatehouse.exchange import SILENT, Exchange, StreamClosedError, broken
from gatehouse.ledger import Ledger
from gatehouse.patience import Deadline, allowed_seconds
from gatehouse.results import Suggestions
from gatehouse.trace_context import trace_context
from gatehouse.v1 import online_pb2, online_pb2_grpc

_Answer: TypeAlias = "asyncio.Future[online_pb2.StreamResult | None]"
"""None stands for an answer that did not come in time."""
_Call: TypeAlias = aio.StreamStreamCall[online_pb2.StreamRequest, online_pb2.StreamResponse]


class Stream:
    """Operations of many sessions on one connection. Made by `Client.stream`; use it as a context manager.

    Whatever waits when the previous message is out goes into the next one together, without any timer. Tasks
    that run at the same time have their operations under way at the same time; of one session one operation
    at a time. When the stream breaks, or nothing comes over it any more, it is opened again, and what had no
    answer is repeated until its deadline.
    """

    def __init__(self, stub: online_pb2_grpc.OnlineServiceAsyncStub, *, timeout_seconds: float) -> None:
        self._stub = stub
        self._timeout_seconds = timeout_seconds
        # Of the span it was made in. The operation that happens to open it is one of many that use it.
        self._metadata = trace_context()
        self._exchange: Exchange[_Answer] = Exchange()
        self._changed = asyncio.Event()
        self._line: _Line | None = None
        self._closed = False
        self._turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def session(
        self, model: str, *, session_id: str | None = None, timeout_seconds: float | None = None
    ) -> Session:
        """Makes a session whose writes go over this stream; otherwise as `Client.session`."""
        request = requests.create_session(model, session_id)
        response = await insist(
            lambda seconds: call(self._stub.CreateSession, request, seconds), self._seconds(timeout_seconds)
        )
        return self._handle(Ledger(response.session))

    async def attach(self, session_id: str, *, timeout_seconds: float | None = None) -> Session:
        """A session that exists, its writes over this stream; otherwise as `Client.attach`."""
        request = online_pb2.GetSessionRequest(session_id=session_id)
        response = await insist(
            lambda seconds: call(self._stub.GetSession, request, seconds), self._seconds(timeout_seconds)
        )
        return self._handle(Ledger(response.session))

    async def suggest(
        self,
        text: str,
        *,
        session: str | None = None,
        model: str | None = None,
        k: int = 3,
        exclude: Iterable[str] = (),
        extra_words: Iterable[str] = (),
        timeout_seconds: float | None = None,
    ) -> Suggestions:
        """As `Client.suggest`, over this stream."""
        operation = requests.suggest(
            text, session=session, model=model, k=k, exclude=exclude, extra_words=extra_words
        )
        deadline = Deadline(self._seconds(timeout_seconds))
        turn = self._turns.setdefault(session, Turn()) if session else Turn()
        async with turn.within(deadline):
            result = await insist(
                lambda seconds: self._submit(operation, seconds), deadline.remaining_seconds()
            )
        return decoding.suggestions(result.suggest)

    async def close(self) -> None:
        """Ends the stream after the operations under way are answered (or have timed out)."""
        self._closed = True
        self._changed.set()
        line = self._line
        if line is not None:
            await asyncio.wait((line.reader,), timeout=self._timeout_seconds)
            line.reader.cancel()
            await asyncio.wait((line.reader,))

    def _handle(self, ledger: Ledger) -> Session:
        return Session(
            ledger, stub=self._stub, carrier=self._carry_write, timeout_seconds=self._timeout_seconds
        )

    async def _carry_write(
        self, write: online_pb2.SessionWrite, timeout_seconds: float
    ) -> online_pb2.WriteResult:
        return (await self._submit(write, timeout_seconds)).write

    async def _submit(
        self, operation: online_pb2.SessionWrite | online_pb2.TextSuggestion, timeout_seconds: float
    ) -> online_pb2.StreamResult:
        if self._closed:
            raise StreamClosedError
        loop = asyncio.get_running_loop()
        future: _Answer = loop.create_future()
        line = self._line
        if line is None or line.reader.done():
            # Made here, so that whoever asks is told at once when the client is closed.
            line = self._line = _Line(self._stub.Stream(metadata=self._metadata))
            line.reader = asyncio.create_task(self._run(line), name="gatehouse-stream")
        tag = self._exchange.submit(operation, timeout_seconds, future)
        self._changed.set()
        # A plain timer: `asyncio.timeout` costs several times as much, and this runs once for each write.
        patience = self._exchange.patience_seconds(timeout_seconds)
        end = loop.time() + timeout_seconds
        expiry = loop.call_later(patience, self._look_after, line, future, patience, end)
        try:
            result = await future
        finally:
            expiry.cancel()
            self._exchange.forget(tag)
        if result is None:
            raise DeadlineExceededError("no answer in time")
        if result.HasField("status"):
            raise failures.from_status(result.status)
        return result

    def _look_after(self, line: _Line, future: _Answer, waited_seconds: float, end: float) -> None:
        """An operation has waited: its line is given up if it was silent. Otherwise it waits on while it has time."""
        if future.done():
            return
        loop = asyncio.get_running_loop()
        remaining = end - loop.time()
        silent = self._exchange.is_silent(waited_seconds)
        if silent:
            line.give_up()
        if silent or remaining <= 0:
            future.set_result(None)
        else:
            patience = self._exchange.patience_seconds(remaining)
            loop.call_later(patience, self._look_after, line, future, patience, end)

    async def _run(self, line: _Line) -> None:
        """One opening of the stream, until it ends. Whoever then has no answer is told so."""
        call = line.call
        sender = asyncio.create_task(self._send(call))
        status = status_pb2.Status()
        try:
            claim = self._exchange.claim
            async for response in call:
                for result in response.results:
                    future = claim(result.tag)
                    if future is not None:
                        _settle(future, result)
        except grpc.RpcError as error:
            status = failures.status_of(error)
        except asyncio.CancelledError:
            if not line.silent:
                if not self._closed:  # then it is the client that was closed, which cancels its calls
                    status = failures.client_closed_status()
                raise
        except Exception as error:
            # No repetition mends it, as with a client that was made for another event loop: whoever waits is told.
            for future in self._exchange.abandon():
                if not future.done():
                    future.set_exception(error)
        finally:
            self._line = None
            sender.cancel()
            call.cancel()
            if line.silent:
                status = status_pb2.Status(message=SILENT)
            for future in self._exchange.abandon(silent=line.silent):
                _settle(future, broken(status))

    async def _send(self, call: _Call) -> None:
        try:
            while not self._closed or self._exchange.has_waiting():
                await self._changed.wait()
                self._changed.clear()
                while self._exchange.has_waiting():
                    await call.write(self._exchange.next_request())
            await call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # The stream has ended; the reading side learns why.

    def _seconds(self, timeout_seconds: float | None) -> float:
        return self._timeout_seconds if timeout_seconds is None else allowed_seconds(timeout_seconds)


def _settle(future: _Answer, result: online_pb2.StreamResult | None) -> None:
    """Tells whoever waits, if somebody still does."""
    if not future.done():
        future.set_result(result)


class _Line:
    """One opening of the stream."""

    reader: asyncio.Task[None]

    def __init__(self, call: _Call) -> None:
        self.call = call
        self.silent = False

    def give_up(self) -> None:
        """Ends it, since nothing comes; whoever waits is told so by the reader."""
        self.silent = True
        self.call.cancel()
