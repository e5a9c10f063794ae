"""Requests about whole sessions from protobuf to plain objects, checked for form: users' and operators'."""

from __future__ import annotations

from gatehouse.v1 import admin_pb2, online_pb2

from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions.operations import (
    CreateSession,
    DeleteSession,
    EvictSession,
    ExportSession,
    ForkSession,
    GetSession,
    ImportSession,
    InspectSession,
)
from gatehouse_server.transport.fields import check_model, check_name, check_position, check_session_id


def decode_creation(request: online_pb2.CreateSessionRequest) -> CreateSession:
    """A session to be made. Raises InvalidInput."""
    check_model(request.model)
    return CreateSession(
        model=request.model,
        session_id=_new_session_id(request.session_id, "session_id"),
        request_id=_request_id(request.request_id),
    )


def decode_fork(request: online_pb2.ForkSessionRequest) -> ForkSession:
    """A session to be made from another one. Raises InvalidInput."""
    check_session_id(request.session_id)
    at = request.at if request.HasField("at") else None
    if at is not None:
        check_position(at)
    return ForkSession(
        session_id=request.session_id,
        new_session_id=_new_session_id(request.new_session_id, "new_session_id"),
        at=at,
        request_id=_request_id(request.request_id),
    )


def decode_export(request: online_pb2.ExportSessionRequest) -> ExportSession:
    """A session to be exported. Raises InvalidInput."""
    check_session_id(request.session_id)
    return ExportSession(session_id=request.session_id)


def decode_import(request: online_pb2.ImportSessionRequest) -> ImportSession:
    """A session to be made from an export, whose content is looked at later. Raises InvalidInput."""
    if not request.blob:
        raise InvalidInput.of_field(
            "blob", "expected what ExportSession gave, got nothing", reason="EXPORT_MALFORMED"
        )
    return ImportSession(
        blob=request.blob,
        session_id=_new_session_id(request.session_id, "session_id"),
        request_id=_request_id(request.request_id),
    )


def decode_get(request: online_pb2.GetSessionRequest) -> GetSession:
    """A session to look at. Raises InvalidInput."""
    check_session_id(request.session_id)
    return GetSession(session_id=request.session_id)


def decode_deletion(request: online_pb2.DeleteSessionRequest) -> DeleteSession:
    """A session to end. Raises InvalidInput."""
    check_session_id(request.session_id)
    return DeleteSession(session_id=request.session_id, request_id=_request_id(request.request_id))


def decode_inspection(request: admin_pb2.InspectSessionRequest) -> InspectSession:
    """A session that an operator looks at. Raises InvalidInput."""
    check_session_id(request.session_id)
    return InspectSession(session_id=request.session_id)


def decode_eviction(request: admin_pb2.EvictSessionRequest) -> EvictSession:
    """A session that an operator ends. Raises InvalidInput."""
    check_session_id(request.session_id)
    return EvictSession(session_id=request.session_id)


def _new_session_id(session_id: str, field: str) -> str | None:
    """The identifier that the client chose; None when the server is to make one."""
    if not session_id:
        return None
    check_session_id(session_id, field)
    return session_id


def _request_id(request_id: str) -> str | None:
    check_name(request_id, "request_id")
    return request_id or None
