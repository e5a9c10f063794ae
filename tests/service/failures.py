"""Reading a failure off the wire: code, reason and fields, from a failed call or from a result's status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What a client can tell of a failure."""

    code: str
    reason: str
    fields: tuple[str, ...] = ()
    message: str = ""
    retry_after_seconds: float | None = None


def failure_of(status: status_pb2.Status) -> Failure:
    """Reads a status with its details."""
    info, violations, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), None
    for detail in status.details:
        if detail.type_url.endswith("google.rpc.ErrorInfo"):
            detail.Unpack(info)
        elif detail.type_url.endswith("google.rpc.BadRequest"):
            detail.Unpack(violations)
        elif detail.type_url.endswith("google.rpc.RetryInfo"):
            retry_info = error_details_pb2.RetryInfo()
            detail.Unpack(retry_info)
            retry = retry_info.retry_delay.ToTimedelta().total_seconds()
    return Failure(
        code=code_pb2.Code.Name(status.code),
        reason=info.reason,
        fields=tuple(violation.field for violation in violations.field_violations),
        message=status.message,
        retry_after_seconds=retry,
    )


def failed(call: Callable[[], Any]) -> Failure:
    """Makes a call that has to fail, and reads how."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return failure_in(caught.value)


def failure_in(error: grpc.RpcError) -> Failure:
    """Reads how a call failed."""
    status = rpc_status.from_call(cast(grpc.Call, error))
    assert status is not None, f"a failure without details: {error}"
    return failure_of(status)
