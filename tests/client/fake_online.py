"""The fake server's sessions: revision rules as the contract has them, on the fake model."""

from __future__ import annotations

import struct
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
from gatehouse.v1 import online_pb2, online_pb2_grpc, session_pb2

from tests.client import fake_model
from tests.client.fake_status import Refusal, abort, refusal

MAX_WRITE_STEPS = 8


@dataclass
class FakeSession:
    """One session's tape and the last write it accepted."""

    session_id: str
    model: str
    incarnation: int = 1
    revision: int = 0
    tape: list[int] = field(default_factory=list)
    accepted: dict[int, tuple[bytes, online_pb2.WriteResult]] = field(default_factory=dict)

    def state(self) -> session_pb2.SessionState:
        """Where it stands."""
        state = session_pb2.SessionState(
            incarnation=self.incarnation, revision=self.revision, position=len(self.tape)
        )
        state.expire_time.FromSeconds(4_000_000_000)
        return state


class FakeOnline(online_pb2_grpc.OnlineServiceServicer):
    """Sessions, with hooks that lose replies, refuse calls, and keep everybody waiting."""

    def __init__(self, calls: Counter[str]) -> None:
        self.calls = calls
        self.sessions: dict[str, FakeSession] = {}
        self.deleted: set[str] = set()
        self.requests_made: dict[str, str] = {}
        self.writes_applied = 0
        self.stream_messages: list[int] = []
        self.replies_to_lose = 0
        self.calls_to_refuse: list[Refusal] = []
        self.streams_to_break = 0
        self.lose_sessions = False
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

    def CreateSession(  # noqa: N802
        self, request: online_pb2.CreateSessionRequest, context: grpc.ServicerContext
    ) -> online_pb2.CreateSessionResponse:
        self._begin("CreateSession", context)
        with self._lock:
            session_id = self.requests_made.get(request.request_id)
            if session_id is None:
                session_id = request.session_id or f"s{len(self.sessions)}"
                if session_id in self.sessions:
                    abort(context, refusal(grpc.StatusCode.ALREADY_EXISTS, "taken", reason="SESSION_EXISTS"))
                self.requests_made[request.request_id] = session_id
                self.sessions[session_id] = FakeSession(session_id, request.model + "@1")
            return online_pb2.CreateSessionResponse(session=self._describe(self.sessions[session_id]))

    def GetSession(  # noqa: N802
        self, request: online_pb2.GetSessionRequest, context: grpc.ServicerContext
    ) -> online_pb2.GetSessionResponse:
        self._begin("GetSession", context)
        try:
            return online_pb2.GetSessionResponse(session=self._describe(self._find(request.session_id)))
        except Refusal as error:
            abort(context, error)

    def DeleteSession(  # noqa: N802
        self, request: online_pb2.DeleteSessionRequest, context: grpc.ServicerContext
    ) -> online_pb2.DeleteSessionResponse:
        self._begin("DeleteSession", context)
        try:
            del self.sessions[self._find(request.session_id).session_id]
        except Refusal as error:
            abort(context, error)
        self.deleted.add(request.session_id)
        return online_pb2.DeleteSessionResponse()

    def Stream(  # noqa: N802
        self, request_iterator: Iterator[online_pb2.StreamRequest], context: grpc.ServicerContext
    ) -> Iterator[online_pb2.StreamResponse]:
        self._begin("Stream", context)
        for request in request_iterator:
            self.stall.wait(10)
            self.stream_messages.append(len(request.operations))
            results = [self._operate(operation) for operation in request.operations]
            if self.streams_to_break:
                self.streams_to_break -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            yield online_pb2.StreamResponse(results=results)

    def _operate(self, operation: online_pb2.StreamOperation) -> online_pb2.StreamResult:
        try:
            if operation.WhichOneof("operation") == "write":
                return online_pb2.StreamResult(tag=operation.tag, write=self.write(operation.write))
            return online_pb2.StreamResult(tag=operation.tag, suggest=self.suggest(operation.suggest))
        except Refusal as error:
            return online_pb2.StreamResult(tag=operation.tag, status=error.status)

    def write(self, write: online_pb2.SessionWrite) -> online_pb2.WriteResult:
        """One write, by the rules of revisions."""
        with self._lock:
            session = self._find(write.session_id)
            content = online_pb2.SessionWrite()
            content.CopyFrom(write)
            content.ClearField("timeout")
            digest = content.SerializeToString(deterministic=True)
            if write.HasField("revision"):
                answer = self._check_revision(session, write, digest)
                if answer is not None:
                    return answer
            result = self._apply(session, write)
            session.accepted[session.revision] = (digest, result)
            self.writes_applied += 1
            return result

    def _check_revision(
        self, session: FakeSession, write: online_pb2.SessionWrite, digest: bytes
    ) -> online_pb2.WriteResult | None:
        standing = {
            "incarnation": str(session.incarnation),
            "revision": str(session.revision),
            "position": str(len(session.tape)),
        }
        if write.incarnation != session.incarnation or write.revision > session.revision + 1:
            code = grpc.StatusCode.FAILED_PRECONDITION
            raise refusal(code, "the server has less", reason="STATE_BEHIND", metadata=standing)
        if write.revision == session.revision + 1:
            return None
        known = session.accepted.get(write.revision)
        if known is None or known[0] != digest:
            raise refusal(grpc.StatusCode.ABORTED, "taken", reason="REVISION_CONFLICT", metadata=standing)
        again = online_pb2.WriteResult()
        again.CopyFrom(known[1])
        again.repeated_write = True
        return again

    def _apply(self, session: FakeSession, write: online_pb2.SessionWrite) -> online_pb2.WriteResult:
        kind = write.WhichOneof("inputs")
        tokens = fake_model.encode(write.text) if kind == "text" else list(write.tokens.ids)
        if len(tokens) > MAX_WRITE_STEPS:
            raise refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                "too many tokens",
                reason="INPUT_TOO_LONG",
                field="write.text",
            )
        at = write.at if write.HasField("at") else len(session.tape)
        if at > len(session.tape):
            raise refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                "no such position",
                reason="POSITION_OUT_OF_RANGE",
                field="write.at",
            )
        tape = session.tape[:at]
        result = online_pb2.WriteResult(session_id=session.session_id)
        every = write.outputs.steps == online_pb2.OUTPUT_STEPS_EVERY
        for number, token in enumerate(tokens):
            if write.outputs.scores:
                result.scores.append(fake_model.log_probabilities(tape)[token])
                result.token_ids.append(token)
            tape.append(token)
            if every or number == len(tokens) - 1:
                self._output(tape, write.outputs, result)
        if not tokens:
            self._output(tape, write.outputs, result)
        session.tape = tape
        session.revision += 1
        result.state.CopyFrom(session.state())
        return result

    def _output(
        self, tape: list[int], options: online_pb2.OutputOptions, result: online_pb2.WriteResult
    ) -> None:
        if not options.HasField("k") and not options.vector:
            return
        step = result.steps.add(position=len(tape))
        for token, log_probability in fake_model.best(tape, options.k):
            step.best_ids.append(token)
            step.best_log_probabilities.append(log_probability)
            step.best_texts.append(fake_model.VOCABULARY[token])
        if options.vector:
            values = fake_model.log_probabilities(tape)
            step.vector = struct.pack(f"<{len(values)}f", *values)

    def suggest(self, suggestion: online_pb2.TextSuggestion) -> online_pb2.SuggestResult:
        """The likeliest words, after the last whole word."""
        with self._lock:
            if self.calls_to_refuse:
                raise self.calls_to_refuse.pop()
            session_id = suggestion.session_id or f"s{len(self.sessions)}"
            rebuilt = session_id not in self.sessions
            session = self.sessions.setdefault(
                session_id, FakeSession(session_id, suggestion.model or "keyboard@1")
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
            self.stall.wait(10)
        if self.calls_to_refuse and method != "Stream":
            abort(context, self.calls_to_refuse.pop())

    def _find(self, session_id: str) -> FakeSession:
        if session_id in self.sessions and not self.lose_sessions:
            return self.sessions[session_id]
        reason = "SESSION_DELETED" if session_id in self.deleted else "SESSION_UNKNOWN"
        raise refusal(grpc.StatusCode.NOT_FOUND, f"no session {session_id}", reason=reason)

    def _describe(self, session: FakeSession) -> session_pb2.Session:
        return session_pb2.Session(
            session_id=session.session_id,
            model=session.model,
            state=session.state(),
            max_unanswered_writes=8,
            max_write_steps=MAX_WRITE_STEPS,
            max_tape_steps=1000,
        )
