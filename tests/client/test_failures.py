"""Statuses as exceptions."""

from __future__ import annotations

import grpc
import pytest
from gatehouse import errors, failures

from tests.client.fake_status import refusal

_CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


@pytest.mark.parametrize("code", _CODES, ids=lambda code: code.name)
def test_every_code_is_an_exception_of_the_tree(code: grpc.StatusCode) -> None:
    """Each gRPC code, known reason or not, becomes a GatehouseError with the message."""
    error = failures.from_status(refusal(code, "what happened").status)
    assert isinstance(error, errors.GatehouseError)
    assert (error.message, error.reason) == ("what happened", None)


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (grpc.StatusCode.NOT_FOUND, "SESSION_EXPIRED", errors.SessionExpiredError),
        (grpc.StatusCode.NOT_FOUND, "SESSION_EVICTED", errors.SessionEvictedError),
        (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_MISMATCH", errors.ModelMismatchError),
        (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_FAILED", errors.ModelFailedError),
        (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_LOADED", errors.ModelNotLoadedError),
        (grpc.StatusCode.FAILED_PRECONDITION, "STATE_BEHIND", errors.StateBehindError),
        (grpc.StatusCode.ABORTED, "SESSION_MOVED", errors.SessionMovedError),
        (grpc.StatusCode.DATA_LOSS, "SESSION_DAMAGED", errors.SessionDamagedError),
        (grpc.StatusCode.UNAVAILABLE, "STORE_LAGGING", errors.UnavailableError),
        (grpc.StatusCode.INVALID_ARGUMENT, "EXPORT_ALTERED", errors.InvalidInputError),
        (grpc.StatusCode.OUT_OF_RANGE, "TAPE_FULL", errors.TapeFullError),
        (grpc.StatusCode.OUT_OF_RANGE, "POSITION_NOT_RETAINED", errors.PositionNotRetainedError),
        (grpc.StatusCode.ABORTED, "PRECEDING_WRITE_REFUSED", errors.PrecedingWriteRefusedError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", errors.OverloadedError),
        (grpc.StatusCode.INVALID_ARGUMENT, "A_REASON_OF_LATER", errors.InvalidInputError),
    ],
)
def test_the_reason_decides_the_class(
    code: grpc.StatusCode, reason: str, expected: type[errors.GatehouseError]
) -> None:
    """A reason with a class of its own gets it; any other gets the class of the code."""
    error = failures.from_status(refusal(code, "x", reason=reason).status)
    assert type(error) is expected
    assert error.reason == reason


def test_a_stream_cut_while_sending_counts_as_unavailable() -> None:
    """gRPC's own INTERNAL for a write on a stream that has just ended is a lost connection."""
    status = refusal(grpc.StatusCode.INTERNAL, "Internal error from Core").status
    assert isinstance(failures.from_status(status), errors.UnavailableError)


def test_only_an_answer_with_a_reason_is_certain() -> None:
    """What has a reason was not applied; UNAVAILABLE and INTERNAL prove nothing even then."""
    certain = refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "x", reason="DEADLINE_EXPIRED")
    assert not failures.leaves_doubt(failures.from_status(certain.status))
    for code, reason in (
        (grpc.StatusCode.DEADLINE_EXCEEDED, None),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, None),
        (grpc.StatusCode.CANCELLED, None),
        (grpc.StatusCode.UNAVAILABLE, "DRAINING"),
        (grpc.StatusCode.INTERNAL, "INTERNAL"),
        (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
        (grpc.StatusCode.ABORTED, "SESSION_MOVED"),
    ):
        assert failures.leaves_doubt(failures.from_status(refusal(code, "x", reason=reason).status)), code


@pytest.mark.parametrize(
    ("code", "reason", "settles"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_TOO_LONG", True),
        (grpc.StatusCode.OUT_OF_RANGE, "TAPE_FULL", True),
        (grpc.StatusCode.ABORTED, "REVISION_CONFLICT", True),
        (grpc.StatusCode.FAILED_PRECONDITION, "STATE_BEHIND", True),
        (grpc.StatusCode.NOT_FOUND, "SESSION_UNKNOWN", True),
        (grpc.StatusCode.DATA_LOSS, "SESSION_DAMAGED", True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXPIRED", False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", False),
        (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_LOADED", False),
        (grpc.StatusCode.ABORTED, "PRECEDING_WRITE_REFUSED", False),
        (grpc.StatusCode.UNAUTHENTICATED, "NO_CREDENTIALS", False),
    ],
)
def test_what_settles_a_doubted_write(code: grpc.StatusCode, reason: str, settles: bool) -> None:
    """After an attempt without an answer only an answer about the write itself is certain; before, all of these are."""
    error = failures.from_status(refusal(code, "x", reason=reason).status)
    assert failures.leaves_doubt(error, doubted=True) is not settles
    assert not failures.leaves_doubt(error)


def test_what_cannot_be_resumed_has_one_class_that_says_where_to_start() -> None:
    """Lost sessions are SessionLostErrors: from the server's position when it has one, else from 0."""
    for code, reason in (
        (grpc.StatusCode.NOT_FOUND, "SESSION_EVICTED"),
        (grpc.StatusCode.DATA_LOSS, "SESSION_DAMAGED"),
        (grpc.StatusCode.FAILED_PRECONDITION, "STATE_BEHIND"),
    ):
        error = failures.from_status(refusal(code, "x", reason=reason, metadata={"position": "7"}).status)
        assert isinstance(error, errors.SessionLostError)
        assert error.restart_position == (7 if reason == "STATE_BEHIND" else 0)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Every exception stands in the drawing, and the drawing has no other."""
    assert errors.__doc__ is not None
    drawn = {word for word in errors.__doc__.replace("─", " ").split() if word.endswith("Error")}
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.GatehouseError)
    }
    assert drawn - {"TimeoutError", "ValueError"} == defined
