"""gRPC's failures as exceptions of `gatehouse.errors`: the reason decides the class, else the code does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, cast

import grpc
from google.rpc import error_details_pb2, status_pb2

from gatehouse import errors
from gatehouse.errors import GatehouseError, Violation

_CLIENT_CLOSED = "CLIENT_CLOSED"

_BY_REASON: dict[str, type[GatehouseError]] = {
    _CLIENT_CLOSED: errors.ClientClosedError,
    "MODEL_NOT_FOUND": errors.ModelNotFoundError,
    "MODEL_FAILED": errors.ModelFailedError,
    "MODEL_MISMATCH": errors.ModelMismatchError,
    "MODEL_NOT_LOADED": errors.ModelNotLoadedError,
    "SESSION_UNKNOWN": errors.SessionUnknownError,
    "SESSION_EXPIRED": errors.SessionExpiredError,
    "SESSION_DELETED": errors.SessionDeletedError,
    "SESSION_EVICTED": errors.SessionEvictedError,
    "SESSION_EXISTS": errors.SessionExistsError,
    "REVISION_CONFLICT": errors.RevisionConflictError,
    "PRECEDING_WRITE_REFUSED": errors.PrecedingWriteRefusedError,
    "STATE_BEHIND": errors.StateBehindError,
    "SESSION_MOVED": errors.SessionMovedError,
    "SESSION_DAMAGED": errors.SessionDamagedError,
    "POSITION_NOT_RETAINED": errors.PositionNotRetainedError,
    "TAPE_FULL": errors.TapeFullError,
}

# A status CANCELLED never tells of a cancellation by the caller (that ends the call in other ways, and so does the
# end of the client): the server or the way to it gave the call up, and nothing is known of it.
_BY_CODE: dict[grpc.StatusCode, type[GatehouseError]] = {
    grpc.StatusCode.UNAVAILABLE: errors.UnavailableError,
    grpc.StatusCode.CANCELLED: errors.UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.OverloadedError,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidInputError,
    grpc.StatusCode.OUT_OF_RANGE: errors.OutOfRangeError,
    grpc.StatusCode.NOT_FOUND: errors.NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: errors.SessionExistsError,
    grpc.StatusCode.ABORTED: errors.RevisionError,
    grpc.StatusCode.FAILED_PRECONDITION: errors.PreconditionError,
    grpc.StatusCode.UNAUTHENTICATED: errors.AccessError,
    grpc.StatusCode.PERMISSION_DENIED: errors.AccessError,
}

# What the server says only after it has looked whether it knows the write, or would have said of the same
# write each time.
_SETTLING = (
    errors.InvalidInputError,
    errors.OutOfRangeError,
    errors.RevisionConflictError,
    errors.SessionLostError,
    errors.ModelMismatchError,
)

_CODES_BY_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

NEVER_SENT = "CLIENT: Sent message"
"""How gRPC begins what it says of a request that the client itself holds back; answers may be too large as well."""

_DETAILS_KEY = "grpc-status-details-bin"


class _FailedCall(Protocol):
    """What every `grpc.RpcError` that a call raises also offers, in both of gRPC's interfaces."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def from_rpc_error(error: grpc.RpcError) -> GatehouseError:
    """The exception for a failed call."""
    return from_status(status_of(error))


def client_closed() -> GatehouseError:
    """The exception for what was under way when the client was closed."""
    return from_status(client_closed_status())


def client_closed_status() -> status_pb2.Status:
    """The same as a status, such as the server might have sent."""
    status = status_pb2.Status(
        code=grpc.StatusCode.UNAVAILABLE.value[0], message="closed by this client while it was under way"
    )
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=_CLIENT_CLOSED))
    return status


def status_of(error: grpc.RpcError) -> status_pb2.Status:
    """The status that a call ended with, details included."""
    call = cast(_FailedCall, error)
    # The blocking interface tells it in words only; the asynchronous one cancels whoever waits.
    if call.code() is grpc.StatusCode.CANCELLED and "Channel closed!" in (call.details() or ""):
        return client_closed_status()
    status = status_pb2.Status(code=call.code().value[0], message=call.details() or "")
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            status.details.extend(status_pb2.Status.FromString(value).details)
    return status


def from_status(status: status_pb2.Status) -> GatehouseError:
    """The exception for a status that a result carries."""
    reason: str | None = None
    metadata: dict[str, str] = {}
    violations: tuple[Violation, ...] = ()
    retry_after_seconds: float | None = None
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(request):
            violations = tuple(
                Violation(field=v.field, description=v.description) for v in request.field_violations
            )
        elif detail.Unpack(retry):
            retry_after_seconds = retry.retry_delay.ToTimedelta().total_seconds()
    code = _CODES_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    return _class_of(code, reason, status.message)(
        status.message or code.name,
        reason=reason,
        metadata=metadata,
        violations=violations,
        retry_after_seconds=retry_after_seconds,
    )


def _class_of(code: grpc.StatusCode, reason: str | None, message: str) -> type[GatehouseError]:
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    # gRPC itself refuses large messages with the code of overload, on either side, and tells it in words
    # only.
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and reason is None and "larger than max" in message:
        return errors.MessageTooLargeError
    # The asynchronous interface answers this when a stream ends while something is being sent on it, in place
    # of the status that it ended with (github.com/grpc/grpc/issues/36066). What it was comes out when it is
    # tried again.
    if code is grpc.StatusCode.INTERNAL and reason is None and "Internal error from Core" in message:
        return errors.UnavailableError
    return _BY_CODE.get(code, errors.ServerError)


def leaves_doubt(error: GatehouseError, *, doubted: bool = False) -> bool:
    """True when a write that failed so may have been applied nevertheless.

    Only an answer of the server that names its reason is certain, and that the write was too large to be sent at all.
    UNAVAILABLE is not even then: a server that lost sight of its store does not know what the store did, and of a
    session that moved another replica knows more. When an earlier attempt at the write left doubt (`doubted`),
    refusing this attempt (too late, too busy, model not there now) settles nothing; only an answer that says what
    became of the write does.
    """
    if isinstance(error, errors.SessionLostError):
        return False
    if isinstance(error, errors.MessageTooLargeError) and error.message.startswith(NEVER_SENT):
        return doubted
    if error.reason is None or isinstance(error, (errors.UnavailableError, errors.ServerError)):
        return True
    return doubted and not isinstance(error, _SETTLING)
