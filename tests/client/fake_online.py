"""The fake server's sessions: revision rules as the contract has them, on the fake model."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import grpc
from gatehouse.v1 import online_pb2, session_pb2

from tests.client import fake_model
from tests.client.fake_generation import FakeGeneration
from tests.client.fake_session import FakeSession
from tests.client.fake_session_calls import FakeSessionCalls
from tests.client.fake_status import Refusal, abort, refusal


class Crash(Exception):
    """The server is gone in the middle of a write: no answer."""


class FakeOnline(FakeSessionCalls, FakeGeneration):
    """Sessions, with hooks that lose replies, refuse calls, ignore streams, kill the server, and keep everybody
    waiting.

    `arrivals` has incarnation and revision of every write that came with one. `crashes` are (writes applied until
    then, newest writes lost), one after the other. `on_write` is called with each write before anything is done.
    """

    def __init__(self, calls: Counter[str], waiting: threading.Semaphore | None = None) -> None:
        super().__init__()
        FakeGeneration.__init__(self)
        self.calls = calls
        self.waiting = waiting or threading.Semaphore(0)
        self.sessions: dict[str, FakeSession] = {}
        self.deleted: set[str] = set()
        self.requests_made: dict[str, str] = {}
        self.writes_applied = 0
        self.stream_messages: list[int] = []
        self.replies_to_lose = 0
        self.calls_to_refuse: list[Refusal] = []
        self.streams_to_break = 0
        self.streams_to_ignore = 0
        self.lose_sessions = False
        self.durability: session_pb2.Durability.ValueType = session_pb2.DURABILITY_NONE
        self.lag_writes = 0
        self.arrivals: list[tuple[int, int]] = []
        self.writes_to_refuse: list[Refusal] = []
        self.crashes: list[tuple[int, int]] = []
        self.on_write: Callable[[online_pb2.SessionWrite], None] = lambda write: None
        self.stall = threading.Event()
        self.stall.set()
        self._lock = threading.RLock()

    def Write(  # noqa: N802  # the name is the contract's
        self, request: online_pb2.WriteRequest, context: grpc.ServicerContext
    ) -> online_pb2.WriteResponse:
        self._begin("Write", context)
        try:
            result = self.write(request.write)
        except Refusal as error:
            abort(context, error)
        except Crash:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        if self.replies_to_lose:
            self.replies_to_lose -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        return online_pb2.WriteResponse(result=result)

    def Suggest(  # noqa: N802
        self, request: online_pb2.SuggestRequest, context: grpc.ServicerContext
    ) -> online_pb2.SuggestResponse:
        self._begin("Suggest", context)
        try:
            return online_pb2.SuggestResponse(result=self.suggest(request.suggest))
        except Refusal as error:
            abort(context, error)

    def GetSession(  # noqa: N802
        self, request: online_pb2.GetSessionRequest, context: grpc.ServicerContext
    ) -> online_pb2.GetSessionResponse:
        self._begin("GetSession", context)
        try:
            return online_pb2.GetSessionResponse(session=self._find(request.session_id).describe())
        except Refusal as error:
            abort(context, error)

    def Stream(  # noqa: N802
        self, request_iterator: Iterator[online_pb2.StreamRequest], context: grpc.ServicerContext
    ) -> Iterator[online_pb2.StreamResponse]:
        self._begin("Stream", context)
        if self.streams_to_ignore:
            self.streams_to_ignore -= 1
            self._ignore(context)
            return
        for request in request_iterator:
            self._stall()
            self.stream_messages.append(len(request.operations))
            try:
                results = [self._operate(operation) for operation in request.operations]
            except Crash:
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            if self.streams_to_break:
                self.streams_to_break -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            yield online_pb2.StreamResponse(results=results)

    def _ignore(self, context: grpc.ServicerContext) -> None:
        """Reads and answers nothing, until the other side ends the call."""
        gone = threading.Event()
        if context.add_callback(gone.set):
            self.waiting.release()
            gone.wait(10)

    def _operate(self, operation: online_pb2.StreamOperation) -> online_pb2.StreamResult:
        try:
            if operation.WhichOneof("operation") == "write":
                return online_pb2.StreamResult(tag=operation.tag, write=self.write(operation.write))
            return online_pb2.StreamResult(tag=operation.tag, suggest=self.suggest(operation.suggest))
        except Refusal as error:
            return online_pb2.StreamResult(tag=operation.tag, status=error.status)

    def write(self, write: online_pb2.SessionWrite) -> online_pb2.WriteResult:
        """One write, by the rules of revisions."""
        self.on_write(write)
        with self._lock:
            if write.HasField("revision"):
                self.arrivals.append((write.incarnation, write.revision))
            if self.writes_to_refuse:
                raise self.writes_to_refuse.pop(0)
            session = self._find(write.session_id)
            answer = session.known(write) if write.HasField("revision") else None
            if answer is not None:
                return answer
            result = session.apply(write)
            self.writes_applied += 1
            if self.crashes and self.writes_applied >= self.crashes[0][0]:
                self.kill(lost_writes=self.crashes.pop(0)[1])
                raise Crash
            return result

    def kill(self, *, lost_writes: int = 0) -> None:
        """`kill -9` and a start anew: every session loses so many of its newest writes (of those that are not durable),
        or with the memory store itself.
        """
        with self._lock:
            if self.durability == session_pb2.DURABILITY_NONE:
                self.sessions.clear()
            for session in self.sessions.values():
                not_durable = session.revision - session.durable_revision
                session.begin_new_life(lost_writes=min(lost_writes, not_durable))

    def write_as_somebody_else(self, session_id: str, *, tokens: list[int]) -> None:
        """Another client's write, at the end of the tape and without a revision."""
        self.write(
            online_pb2.SessionWrite(session_id=session_id, tokens=online_pb2.TokenSequence(ids=tokens))
        )

    def suggest(self, suggestion: online_pb2.TextSuggestion) -> online_pb2.SuggestResult:
        """The likeliest words, after the last whole word."""
        with self._lock:
            if self.calls_to_refuse:
                raise self.calls_to_refuse.pop()
            session_id = suggestion.session_id or f"s{len(self.sessions)}"
            rebuilt = session_id not in self.sessions
            session = self.sessions.setdefault(
                session_id, self._make(session_id, suggestion.model or "keyboard@1")
            )
            whole, _, prefix = suggestion.text.rpartition(" ")
            tape = fake_model.encode(whole)
            if tape != session.tape:
                session.tape = tape
                session.revision += 1
            result = online_pb2.SuggestResult(
                session_id=session_id,
                state=session.state(),
                prefix=prefix,
                rebuilt=rebuilt,
                computed_steps=len(tape),
            )
            ranked = fake_model.best(tape, len(fake_model.VOCABULARY))
            words = [(fake_model.VOCABULARY[token], value) for token, value in ranked if token > 1]
            for word, value in words:
                if (
                    word.startswith(prefix)
                    and word not in suggestion.exclude
                    and len(result.suggestions) < suggestion.k
                ):
                    result.suggestions.add(text=word, log_probability=value)
            return result

    def _begin(self, method: str, context: grpc.ServicerContext) -> None:
        self.calls[f"OnlineService.{method}"] += 1
        if method != "Stream":
            self._stall()
        if self.calls_to_refuse and method != "Stream":
            abort(context, self.calls_to_refuse.pop())

    def _stall(self) -> None:
        if not self.stall.is_set():
            self.waiting.release()
            self.stall.wait(10)

    def _find(self, session_id: str) -> FakeSession:
        if session_id in self.sessions and not self.lose_sessions:
            return self.sessions[session_id]
        reason = "SESSION_DELETED" if session_id in self.deleted else "SESSION_UNKNOWN"
        raise refusal(grpc.StatusCode.NOT_FOUND, f"no session {session_id}", reason=reason)

    def _make(self, session_id: str, model: str) -> FakeSession:
        return FakeSession(session_id, model, durability=self.durability, lag_writes=self.lag_writes)
