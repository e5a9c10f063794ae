"""Failures as the server makes them: a google.rpc.Status with details."""

from __future__ import annotations

from typing import Never

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2


class Refusal(Exception):
    """A failure on its way out of the fake server."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


def refusal(
    code: grpc.StatusCode,
    message: str,
    *,
    reason: str | None = None,
    metadata: dict[str, str] | None = None,
    field: str | None = None,
    retry_after_seconds: float | None = None,
) -> Refusal:
    """A failure with the details that are given."""
    status = status_pb2.Status(code=code.value[0], message=message)
    if reason is not None:
        info = error_details_pb2.ErrorInfo(reason=reason, domain="gatehouse", metadata=metadata or {})
        status.details.add().Pack(info)
    if field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_after_seconds is not None:
        delay = Duration()
        delay.FromNanoseconds(round(retry_after_seconds * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return Refusal(status)


def abort(context: grpc.ServicerContext, error: Refusal) -> Never:
    """Ends a call with a failure."""
    context.set_trailing_metadata((("grpc-status-details-bin", error.status.SerializeToString()),))
    code = next(code for code in grpc.StatusCode if code.value[0] == error.status.code)
    context.abort(code, error.status.message)
