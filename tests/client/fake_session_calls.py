"""The fake server's calls about whole sessions: made, forked, exported, imported and deleted, each request once."""

from __future__ import annotations

import json
import threading

import grpc
from gatehouse.v1 import online_pb2, online_pb2_grpc, session_pb2

from tests.client.fake_session import FakeSession
from tests.client.fake_status import Refusal, abort, refusal


class FakeSessionCalls(online_pb2_grpc.OnlineServiceServicer):
    """What FakeOnline answers to them. `request_ids` are those that arrived, repeated ones too.

    `session_replies_to_lose` is how many of the next answers get lost after the call has done its work;
    `export_padding_bytes` makes exports larger.
    """

    sessions: dict[str, FakeSession]
    deleted: set[str]
    requests_made: dict[str, str]
    _lock: threading.RLock

    def __init__(self) -> None:
        self.request_ids: list[str] = []
        self.session_replies_to_lose = 0
        self.export_padding_bytes = 0

    def CreateSession(  # noqa: N802  # the name is the contract's
        self, request: online_pb2.CreateSessionRequest, context: grpc.ServicerContext
    ) -> online_pb2.CreateSessionResponse:
        self._begin("CreateSession", context)
        session = self._make(request.session_id, request.model + "@1")
        return online_pb2.CreateSessionResponse(session=self._admit(session, request.request_id, context))

    def ForkSession(  # noqa: N802
        self, request: online_pb2.ForkSessionRequest, context: grpc.ServicerContext
    ) -> online_pb2.ForkSessionResponse:
        self._begin("ForkSession", context)
        source = self._found(request.session_id, context)
        session = self._make(request.new_session_id, source.model)
        tape = source.tape[: request.at] if request.HasField("at") else source.tape
        session.begin_at(source.revision, list(tape))
        return online_pb2.ForkSessionResponse(session=self._admit(session, request.request_id, context))

    def ExportSession(  # noqa: N802
        self, request: online_pb2.ExportSessionRequest, context: grpc.ServicerContext
    ) -> online_pb2.ExportSessionResponse:
        self._begin("ExportSession", context)
        session = self._found(request.session_id, context)
        blob = json.dumps([session.model, session.revision, session.tape]).encode()
        self._lose_reply(context)
        return online_pb2.ExportSessionResponse(
            blob=blob + b" " * self.export_padding_bytes, session=session.describe()
        )

    def ImportSession(  # noqa: N802
        self, request: online_pb2.ImportSessionRequest, context: grpc.ServicerContext
    ) -> online_pb2.ImportSessionResponse:
        self._begin("ImportSession", context)
        try:
            model, revision, tape = json.loads(request.blob)
        except ValueError:
            code = grpc.StatusCode.INVALID_ARGUMENT
            abort(context, refusal(code, "blob: garbage", reason="EXPORT_MALFORMED", field="blob"))
        session = self._make(request.session_id, model)
        session.begin_at(revision, tape)
        return online_pb2.ImportSessionResponse(session=self._admit(session, request.request_id, context))

    def DeleteSession(  # noqa: N802
        self, request: online_pb2.DeleteSessionRequest, context: grpc.ServicerContext
    ) -> online_pb2.DeleteSessionResponse:
        self._begin("DeleteSession", context)
        self.request_ids.append(request.request_id)
        if request.request_id not in self.requests_made:
            del self.sessions[self._found(request.session_id, context).session_id]
            self.requests_made[request.request_id] = request.session_id
            self.deleted.add(request.session_id)
        self._lose_reply(context)
        return online_pb2.DeleteSessionResponse()

    def _admit(
        self, session: FakeSession, request_id: str, context: grpc.ServicerContext
    ) -> session_pb2.Session:
        """Takes a session in, once for each request id, and gives it a name when it has none."""
        with self._lock:
            self.request_ids.append(request_id)
            session_id = self.requests_made.get(request_id)
            if session_id is None:
                session_id = session.session_id = session.session_id or f"s{len(self.sessions)}"
                if session_id in self.sessions:
                    abort(context, refusal(grpc.StatusCode.ALREADY_EXISTS, "taken", reason="SESSION_EXISTS"))
                self.requests_made[request_id] = session_id
                self.sessions[session_id] = session
        self._lose_reply(context)
        return self.sessions[session_id].describe()

    def _found(self, session_id: str, context: grpc.ServicerContext) -> FakeSession:
        try:
            return self._find(session_id)
        except Refusal as error:
            abort(context, error)

    def _lose_reply(self, context: grpc.ServicerContext) -> None:
        if self.session_replies_to_lose:
            self.session_replies_to_lose -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    def _begin(self, method: str, context: grpc.ServicerContext) -> None:
        raise NotImplementedError

    def _find(self, session_id: str) -> FakeSession:
        raise NotImplementedError

    def _make(self, session_id: str, model: str) -> FakeSession:
        raise NotImplementedError
