"""Many sessions on one stream (the twin of `gatehouse.aio.stream`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

import grpc
from google.rpc import status_pb2

from gatehouse import decoding, failures, requests
from gatehouse.calls import ResponseStream, call, insist
from gatehouse.errors import DeadlineExceededError
from gatehouse.exchange import SILENT, Exchange, StreamClosedError, broken
from gatehouse.ledger import Ledger
from gatehouse.patience import Deadline, allowed_seconds
from gatehouse.results import Suggestions
from gatehouse.session import Session
from gatehouse.trace_context import trace_context
from gatehouse.turns import Turn
from gatehouse.v1 import online_pb2, online_pb2_grpc


class Stream:
    """Operations of many sessions on one connection. Made by `Client.stream`; use it as a context manager.

    Whatever waits when the previous message is out goes into the next one together, without any timer. Calls
    block, so several threads are needed to have several operations under way. Of one session one operation is
    under way at a time. When the stream breaks, or nothing comes over it any more, it is opened again, and what
    had no answer is repeated until its deadline.
    """

    def __init__(self, stub: online_pb2_grpc.OnlineServiceStub, *, timeout_seconds: float) -> None:
        self._stub = stub
        self._timeout_seconds = timeout_seconds
        # Of the span it was made in. The operation that happens to open it is one of many that use it.
        self._metadata = trace_context()
        self._exchange: Exchange[_Answer] = Exchange()
        self._changed = threading.Condition()
        self._line: _Line | None = None
        self._closed = False
        self._turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def session(
        self, model: str, *, session_id: str | None = None, timeout_seconds: float | None = None
    ) -> Session:
        """Makes a session whose writes go over this stream; otherwise as `Client.session`."""
        request = requests.create_session(model, session_id)
        response = insist(
            lambda seconds: call(self._stub.CreateSession, request, seconds), self._seconds(timeout_seconds)
        )
        return self._handle(Ledger(response.session))

    def attach(self, session_id: str, *, timeout_seconds: float | None = None) -> Session:
        """A session that exists, its writes over this stream; otherwise as `Client.attach`."""
        request = online_pb2.GetSessionRequest(session_id=session_id)
        response = insist(
            lambda seconds: call(self._stub.GetSession, request, seconds), self._seconds(timeout_seconds)
        )
        return self._handle(Ledger(response.session))

    def suggest(
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
        with self._changed:  # two threads that look at once into a weak dictionary could both find nothing
            turn = self._turns.setdefault(session, Turn()) if session else Turn()
        with turn.within(deadline):
            result = insist(lambda seconds: self._submit(operation, seconds), deadline.remaining_seconds())
        return decoding.suggestions(result.suggest)

    def close(self) -> None:
        """Ends the stream after the operations under way are answered (or have timed out)."""
        with self._changed:
            self._closed = True
            line = self._line
            self._changed.notify_all()
        if line is not None:
            line.reader.join(self._timeout_seconds)
            line.call.cancel()
            line.reader.join()

    def _handle(self, ledger: Ledger) -> Session:
        return Session(
            ledger, stub=self._stub, carrier=self._carry_write, timeout_seconds=self._timeout_seconds
        )

    def _carry_write(self, write: online_pb2.SessionWrite, timeout_seconds: float) -> online_pb2.WriteResult:
        return self._submit(write, timeout_seconds).write

    def _submit(
        self, operation: online_pb2.SessionWrite | online_pb2.TextSuggestion, timeout_seconds: float
    ) -> online_pb2.StreamResult:
        answer = _Answer()
        with self._changed:
            if self._closed:
                raise StreamClosedError
            tag = self._exchange.submit(operation, timeout_seconds, answer)
            if self._line is None:
                self._line = self._open()
            line = self._line
            self._changed.notify_all()
        try:
            result = self._wait(answer, line, timeout_seconds)
        finally:
            if answer.result is None:
                with self._changed:
                    self._exchange.forget(tag)
        if result is None:
            raise DeadlineExceededError("no answer in time")
        if result.HasField("status"):
            raise failures.from_status(result.status)
        return result

    def _wait(self, answer: _Answer, line: _Line, timeout_seconds: float) -> online_pb2.StreamResult | None:
        """The answer; None when it did not come in time, or the line was given up since it was silent."""
        end = time.monotonic() + timeout_seconds
        remaining = timeout_seconds
        while True:
            patience = self._exchange.patience_seconds(remaining)
            if (result := answer.wait(patience)) is not None:
                return result
            with self._changed:
                if answer.result is None and self._exchange.is_silent(patience):
                    line.silent = True
            if line.silent:
                line.call.cancel()
                return answer.result
            remaining = end - time.monotonic()
            if remaining <= 0:
                return answer.result

    def _open(self) -> _Line:
        line = _Line()
        line.call = self._stub.Stream(self._requests(line), metadata=self._metadata)
        line.reader = threading.Thread(target=self._read, args=(line,), name="gatehouse-stream", daemon=True)
        line.reader.start()
        return line

    def _requests(self, line: _Line) -> Iterator[online_pb2.StreamRequest]:
        """What gRPC's sending thread takes: the next message whenever the previous one is out."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._exchange.has_waiting() or self._closed or line.broken)
                if line.broken or not self._exchange.has_waiting():
                    return
                request = self._exchange.next_request()
            yield request

    def _read(self, line: _Line) -> None:
        status = status_pb2.Status()
        try:
            for response in line.call:
                with self._changed:
                    answered = [(self._exchange.claim(result.tag), result) for result in response.results]
                for answer, result in answered:
                    if answer is not None:
                        answer.give(result)
        except grpc.RpcError as error:
            status = failures.status_of(error)
        with self._changed:
            if line.silent:
                status = status_pb2.Status(message=SILENT)
            line.broken = True
            self._line = None
            left = self._exchange.abandon(silent=line.silent)
            self._changed.notify_all()
        for answer in left:
            answer.give(broken(status))

    def _seconds(self, timeout_seconds: float | None) -> float:
        return self._timeout_seconds if timeout_seconds is None else allowed_seconds(timeout_seconds)


class _Answer:
    """An answer that one thread waits for. `concurrent.futures.Future` does much more, at several times the cost."""

    __slots__ = ("_given", "result")

    def __init__(self) -> None:
        self.result: online_pb2.StreamResult | None = None
        self._given = threading.Lock()
        self._given.acquire()

    def give(self, result: online_pb2.StreamResult) -> None:
        """Has the waiting thread go on. Once only."""
        self.result = result
        self._given.release()

    def wait(self, timeout_seconds: float) -> online_pb2.StreamResult | None:
        """The answer; None when it did not come in time."""
        self._given.acquire(timeout=timeout_seconds)
        return self.result


class _Line:
    """One opening of the stream."""

    call: ResponseStream[online_pb2.StreamResponse]
    reader: threading.Thread
    broken = False
    silent = False
