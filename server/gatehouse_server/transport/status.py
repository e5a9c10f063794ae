"""Exceptions as gRPC statuses. The one place of the server that names a code."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import NoReturn, Protocol

import grpc
import grpc.aio
import structlog
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from gatehouse_server import errors
from gatehouse_server.engine.correlation import logged_under, new_correlation_id
from gatehouse_server.errors import GatehouseError, InvalidInput, Overloaded, StoreUnavailable
from gatehouse_server.telemetry.call_trace import CallTrace, current_trace

ERROR_DOMAIN = "gatehouse.dev"
INTERNAL_REASON = "INTERNAL"

CODES: Mapping[type[GatehouseError], grpc.StatusCode] = MappingProxyType(
    {
        errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
        errors.ModelNotFound: grpc.StatusCode.NOT_FOUND,
        errors.ModelFailed: grpc.StatusCode.FAILED_PRECONDITION,
        errors.ModelMismatch: grpc.StatusCode.FAILED_PRECONDITION,
        errors.ModelFolderError: grpc.StatusCode.FAILED_PRECONDITION,
        errors.ModelRequired: grpc.StatusCode.FAILED_PRECONDITION,
        errors.ModelNotLoaded: grpc.StatusCode.FAILED_PRECONDITION,
        errors.SessionNotFound: grpc.StatusCode.NOT_FOUND,
        errors.SessionExists: grpc.StatusCode.ALREADY_EXISTS,
        errors.RevisionConflict: grpc.StatusCode.ABORTED,
        errors.PrecedingWriteRefused: grpc.StatusCode.ABORTED,
        errors.StateBehind: grpc.StatusCode.FAILED_PRECONDITION,
        errors.SessionMoved: grpc.StatusCode.ABORTED,
        errors.SessionDamaged: grpc.StatusCode.DATA_LOSS,
        errors.PositionNotRetained: grpc.StatusCode.OUT_OF_RANGE,
        errors.TapeFull: grpc.StatusCode.OUT_OF_RANGE,
        errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
        errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
        errors.StoreDefect: grpc.StatusCode.UNAVAILABLE,
        errors.DeadlineExpired: grpc.StatusCode.DEADLINE_EXCEEDED,
        errors.Draining: grpc.StatusCode.UNAVAILABLE,
        errors.Cancelled: grpc.StatusCode.CANCELLED,
    }
)

CODE_NAMES = tuple(code.name for code in grpc.StatusCode)
"""Every code that a metric's label can have."""

CALL_OVER = (asyncio.CancelledError, grpc.aio.InternalError)
"""How a handler hears that its call is over: gRPC cancels it, or, sooner, a write of it fails since the connection has
ended.
"""

# What OpenTelemetry's conventions hold to be the server's errors; with other codes the caller did wrong, or left.
_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)

# A status travels in HTTP/2 trailers, and peers refuse trailers beyond 8 KiB. Texts may be percent-encoded to
# three times their length.
_MESSAGE_CHARACTERS = 600
_FACT_CHARACTERS = 200
_MOST_VIOLATIONS = 8

_log = structlog.get_logger(__name__)


class Call(Protocol):
    """What is needed of a gRPC call's context to end it with a status."""

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: tuple[tuple[str, str | bytes], ...] = (),
    ) -> NoReturn: ...


def code_of(error: BaseException) -> grpc.StatusCode:
    """The code for an exception; INTERNAL for one that is not ours, CANCELLED when the caller left."""
    if isinstance(error, asyncio.CancelledError):
        return grpc.StatusCode.CANCELLED
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return grpc.StatusCode.INTERNAL


def fill_status(status: status_pb2.Status, error: BaseException, *, path: str = "") -> str:
    """Writes the error into a status and returns the code's name. `path` goes before the names of fields.

    An exception that is not of our tree is logged with its traceback under an id; the status has the id only.
    """
    code = code_of(error)
    status.code = code.value[0]
    if not isinstance(error, GatehouseError):
        _fill_internal(status, error)
        return code.name
    status.message = _shortened(error.message, _MESSAGE_CHARACTERS)
    facts = {key: _shortened(value, _FACT_CHARACTERS) for key, value in error.metadata.items()}
    _attach(status, error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=facts))
    if isinstance(error, InvalidInput) and error.violations:
        _attach(
            status,
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=_shortened(path + violation.field, _FACT_CHARACTERS),
                        description=_shortened(violation.description, _FACT_CHARACTERS),
                    )
                    for violation in error.violations[:_MOST_VIOLATIONS]
                ]
            ),
        )
    if isinstance(error, Overloaded | StoreUnavailable):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after_seconds * 1e9))
        _attach(status, retry)
    return code.name


async def abort_with(call: Call, error: BaseException) -> NoReturn:
    """Ends a call with the status of an exception."""
    status = status_pb2.Status()
    fill_status(status, error)
    await call.abort(
        code_of(error), status.message, (("grpc-status-details-bin", status.SerializeToString()),)
    )


def ended_by(remaining_seconds: float | None) -> grpc.StatusCode:
    """The code of a call that gRPC cancelled, by what was left until its deadline: nothing, or the caller has left."""
    if remaining_seconds is not None and remaining_seconds <= 0:
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.StatusCode.CANCELLED


def code_name(number: object) -> str:
    """The name of the code that a call ended with, as gRPC's context has it: a number, an enum or nothing."""
    for code in grpc.StatusCode:
        if number in (code, code.value[0]):
            return code.name
    return grpc.StatusCode.OK.name if not number else grpc.StatusCode.UNKNOWN.name


def end_trace(trace: CallTrace, name: str) -> None:
    """Ends the span of a call with the code of this name."""
    code = grpc.StatusCode[name]
    trace.end(code.value[0], is_fault=code in _FAULTS)


def _fill_internal(status: status_pb2.Status, error: BaseException) -> None:
    correlation_id = logged_under(error)
    if correlation_id is None:
        correlation_id = new_correlation_id(error)
        trace = current_trace()
        facts = {} if trace is None else {"trace_id": trace.trace_id}
        _log.error("internal error", correlation_id=correlation_id, **facts, exc_info=error)
    status.message = f"internal error {correlation_id}; the server's log has more under this id"
    _attach(
        status,
        error_details_pb2.ErrorInfo(
            reason=INTERNAL_REASON, domain=ERROR_DOMAIN, metadata={"correlation_id": correlation_id}
        ),
    )


def _attach(status: status_pb2.Status, detail: Message) -> None:
    status.details.add().Pack(detail)


def _shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"
