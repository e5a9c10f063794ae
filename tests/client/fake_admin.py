"""The fake server's port for operators: lines that the test puts there, pages of two."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import grpc
from gatehouse.v1 import admin_pb2, admin_pb2_grpc
from google.protobuf.duration_pb2 import Duration

from tests.client.fake_status import Refusal, abort, refusal

PAGE_SESSIONS = 2


class FakeAdmin(admin_pb2_grpc.AdminServiceServicer):
    """Sessions as an operator sees them, with hooks that refuse calls, break a list and keep it waiting."""

    def __init__(self, calls: Counter[str]) -> None:
        self.calls = calls
        self.lines: dict[str, admin_pb2.SessionLine] = {}
        self.evicted: list[str] = []
        self.folders: list[str] = []
        self.unloaded: list[tuple[str, bool]] = []
        self.changes = [
            admin_pb2.ModelChange(
                model="keyboard@2",
                kind=admin_pb2.MODEL_CHANGE_KIND_REPLACED,
                fingerprint="ab" * 32,
                leaving_sessions=1,
                load_duration=Duration(nanos=250_000_000),
            ),
            admin_pb2.ModelChange(
                model="broken@1", kind=admin_pb2.MODEL_CHANGE_KIND_FAILED, problem="config.json is missing"
            ),
        ]
        self.status = admin_pb2.GetStatusResponse(version="1.2.3", device="cpu", phase="serving")
        self.calls_to_refuse: list[Refusal] = []
        self.pages_before_failure: int | None = None
        self.stall = threading.Event()
        self.stall.set()

    def add(
        self, session_id: str, *, model: str = "keyboard@1", tier: int = 1, size_bytes: int = 3000
    ) -> None:
        """Puts a session there."""
        line = admin_pb2.SessionLine(session_id=session_id, model=model, size_bytes=size_bytes)
        line.tier = tier  # type: ignore[assignment]  # also numbers that the contract does not know yet
        line.state.incarnation, line.state.revision, line.state.position = 2, 40, 1234
        line.state.durable_revision = 39
        line.state.expire_time.FromSeconds(4_000_000_000)
        self.lines[session_id] = line

    def ListSessions(  # noqa: N802  # the name is the contract's
        self, request: admin_pb2.ListSessionsRequest, context: grpc.ServicerContext
    ) -> Iterator[admin_pb2.ListSessionsResponse]:
        self._begin("ListSessions", context)
        lines = list(self.lines.values())
        for number, start in enumerate(range(0, len(lines), PAGE_SESSIONS)):
            if number == self.pages_before_failure:
                error = refusal(grpc.StatusCode.UNAVAILABLE, "no store", reason="STORE_UNAVAILABLE")
                abort(context, error)
            yield admin_pb2.ListSessionsResponse(
                sessions=[
                    line
                    for line in lines[start : start + PAGE_SESSIONS]
                    if request.model in ("", line.model, line.model.partition("@")[0])
                ]
            )
            self.stall.wait(10)

    def InspectSession(  # noqa: N802
        self, request: admin_pb2.InspectSessionRequest, context: grpc.ServicerContext
    ) -> admin_pb2.InspectSessionResponse:
        self._begin("InspectSession", context)
        return admin_pb2.InspectSessionResponse(session=self._find(request.session_id, context))

    def EvictSession(  # noqa: N802
        self, request: admin_pb2.EvictSessionRequest, context: grpc.ServicerContext
    ) -> admin_pb2.EvictSessionResponse:
        self._begin("EvictSession", context)
        del self.lines[self._find(request.session_id, context).session_id]
        self.evicted.append(request.session_id)
        return admin_pb2.EvictSessionResponse()

    def LoadModel(  # noqa: N802
        self, request: admin_pb2.LoadModelRequest, context: grpc.ServicerContext
    ) -> admin_pb2.LoadModelResponse:
        self._begin("LoadModel", context)
        self.folders.append(request.folder)
        return admin_pb2.LoadModelResponse(change=self.changes[0])

    def UnloadModel(  # noqa: N802
        self, request: admin_pb2.UnloadModelRequest, context: grpc.ServicerContext
    ) -> admin_pb2.UnloadModelResponse:
        self._begin("UnloadModel", context)
        self.unloaded.append((request.model, request.force))
        change = admin_pb2.ModelChange(
            model=request.model, kind=admin_pb2.MODEL_CHANGE_KIND_UNLOADED, leaving_sessions=3
        )
        return admin_pb2.UnloadModelResponse(change=change, evicted_sessions=2 if request.force else 0)

    def ReloadModels(  # noqa: N802
        self, request: admin_pb2.ReloadModelsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ReloadModelsResponse:
        self._begin("ReloadModels", context)
        return admin_pb2.ReloadModelsResponse(changes=self.changes)

    def GetStatus(  # noqa: N802
        self, request: admin_pb2.GetStatusRequest, context: grpc.ServicerContext
    ) -> admin_pb2.GetStatusResponse:
        self._begin("GetStatus", context)
        return self.status

    def _begin(self, method: str, context: grpc.ServicerContext) -> None:
        self.calls[f"AdminService.{method}"] += 1
        if self.calls_to_refuse:
            abort(context, self.calls_to_refuse.pop())

    def _find(self, session_id: str, context: grpc.ServicerContext) -> admin_pb2.SessionLine:
        if session_id not in self.lines:
            reason = "SESSION_EVICTED" if session_id in self.evicted else "SESSION_UNKNOWN"
            message = f"there is no session {session_id!r}"
            abort(context, refusal(grpc.StatusCode.NOT_FOUND, message, reason=reason))
        return self.lines[session_id]
