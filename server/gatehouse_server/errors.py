"""What can go wrong, as one tree of exceptions. The transport maps each class to a gRPC code; nothing here
knows gRPC.

    GatehouseError
    ├── InvalidInput             the caller sent something that cannot be served; names the fields
    ├── ModelNotFound            no model of that name or version
    ├── ModelFailed              the model is known, but its folder could not be loaded
    ├── ModelMismatch            the session runs on another model than the call names
    ├── ModelNotLoaded           the session is kept, but its model is not served here now
    ├── ModelFolderError         a model folder has a defect (users see ModelFailed)
    ├── ModelRequired            an operator would unload what the server must not be without
    ├── SessionNotFound          no such session; the reason tells what became of it
    ├── SessionExists            the identifier of a session to be made is taken
    ├── RevisionConflict         a write under an old revision, or with other content than the accepted one
    ├── PrecedingWriteRefused    an earlier write of the same pipeline was refused
    ├── StateBehind              the server has less of the session than the client believes
    ├── SessionMoved             another replica has taken the session over; this one dropped its copy
    ├── SessionDamaged           what the store holds of the session cannot be read
    ├── PositionNotRetained      the state at that position can no longer be restored
    ├── TapeFull                 the tape has reached its greatest length
    ├── Overloaded               a queue, the session table or memory is full; carries when to try again
    ├── StoreUnavailable         the state store does not answer, or lags too far behind
    ├── StoreDefect              the state store cannot be used (at start-up)
    ├── DeadlineExpired          the deadline passed while the work was waiting; the work is not done
    ├── Draining                 the server is shutting down and takes no new work
    └── Cancelled                the caller left before the work began

Every error has a `reason`, an UPPER_SNAKE string that programs may rely on and that stays as it is; a message
for people that says what to do next; and `metadata`, the facts of the case as strings.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One field of a request that cannot be accepted: its path, as `features[3]`, and why, with the allowed
    range.
    """

    field: str
    description: str


class GatehouseError(Exception):
    """The root of the tree.

    `reasons` lists what `reason` may be; the first is the default. A reason outside the list is a bug of
    ours: the list is what the documentation of errors is checked against.
    """

    reasons: ClassVar[tuple[str, ...]] = ("INTERNAL",)

    def __init__(
        self, message: str, *, reason: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = self.reasons[0] if reason is None else reason
        self.metadata: dict[str, str] = dict(metadata or {})
        assert self.reason in self.reasons, (
            f"{self.reason} is not declared as a reason of {type(self).__name__}"
        )


class InvalidInput(GatehouseError):
    """The caller sent something malformed or out of range; nothing of it was applied."""

    reasons = (
        "INVALID_INPUT",
        "EMPTY_INPUT",
        "INPUT_TOO_LONG",
        "TOKEN_OUT_OF_RANGE",
        "TEXT_NOT_ENCODABLE",
        "FEATURES_NOT_FINITE",
        "WRONG_WIDTH",
        "WRONG_INPUT_KIND",
        "K_OUT_OF_RANGE",
        "POSITION_OUT_OF_RANGE",
        "WRONG_MODEL_KIND",
        "STATE_NOT_FINITE",
        "OUTPUTS_TOO_LARGE",
        "DOCUMENT_TOO_LONG",
        "DUPLICATE_DOCUMENT_ID",
        "PARTS_INTERLEAVED",
        "PART_OUT_OF_ORDER",
        "EXPORT_MALFORMED",
        "EXPORT_ALTERED",
        "EXPORT_TOO_NEW",
    )

    def __init__(
        self,
        message: str,
        *,
        violations: tuple[FieldViolation, ...] = (),
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.violations = violations

    @classmethod
    def of_field(
        cls,
        field: str,
        description: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Self:
        """The error for one field, with the message `field: description`."""
        violation = FieldViolation(field=field, description=description)
        return cls(f"{field}: {description}", violations=(violation,), reason=reason, metadata=metadata)


class ModelNotFound(GatehouseError):
    """No model of that name or version is served."""

    reasons = ("MODEL_NOT_FOUND",)


class ModelFailed(GatehouseError):
    """The model is known, but could not be loaded."""

    reasons = ("MODEL_FAILED",)


class ModelMismatch(GatehouseError):
    """The session stays on its own model, and the call names another one."""

    reasons = ("MODEL_MISMATCH",)


class ModelNotLoaded(GatehouseError):
    """The session is kept, but the model that it runs on is not served here now, or has changed."""

    reasons = ("MODEL_NOT_LOADED",)


class ModelFolderError(GatehouseError):
    """A model folder has a defect. `str` is one line: where, what is wrong, and what to mend."""

    reasons = ("MODEL_FOLDER_INVALID",)

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        where = printable(path)
        super().__init__(" ".join(f"{where}: {problem}; {remedy}".split()), metadata={"path": where})
        self.path = path
        self.problem = " ".join(problem.split())
        self.remedy = " ".join(remedy.split())


class ModelRequired(GatehouseError):
    """The model is one without which the server is not ready, so it is not unloaded."""

    reasons = ("MODEL_REQUIRED",)


class SessionNotFound(GatehouseError):
    """There is no such session (any more)."""

    reasons = ("SESSION_UNKNOWN", "SESSION_EXPIRED", "SESSION_DELETED", "SESSION_EVICTED")


class SessionExists(GatehouseError):
    """The identifier is taken."""

    reasons = ("SESSION_EXISTS",)


class RevisionConflict(GatehouseError):
    """The write is older than the session, or differs from the one accepted under its revision."""

    reasons = ("REVISION_CONFLICT",)


class PrecedingWriteRefused(GatehouseError):
    """An earlier write of the pipeline was refused, so this one would land on a tape it was not meant for."""

    reasons = ("PRECEDING_WRITE_REFUSED",)


class StateBehind(GatehouseError):
    """The session is at an earlier revision, or in another life, than the client believes: replay from
    there.
    """

    reasons = ("STATE_BEHIND",)


class SessionMoved(GatehouseError):
    """Another replica has taken the session over. This one dropped its copy; asked again, it takes the session back."""

    reasons = ("SESSION_MOVED",)


class SessionDamaged(GatehouseError):
    """What the store holds of the session cannot be read. It is left as it is, for an operator to look at."""

    reasons = ("SESSION_DAMAGED",)


class PositionNotRetained(GatehouseError):
    """The state at that position cannot be restored; the metadata tells the range that can."""

    reasons = ("POSITION_NOT_RETAINED",)


class TapeFull(GatehouseError):
    """The write would make the tape longer than it may be."""

    reasons = ("TAPE_FULL",)


class Overloaded(GatehouseError):
    """Something bounded is full. Trying again after `retry_after_seconds` may succeed."""

    reasons = ("OVERLOADED", "QUEUE_FULL", "SESSIONS_FULL", "CONTINUATIONS_FULL")

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after_seconds = retry_after_seconds


class StoreUnavailable(GatehouseError):
    """The state store does not answer, or more is waiting for it than may be. What was asked for did not happen, or
    nobody knows whether it did: asking again under the same revision or request_id is harmless.
    """

    reasons = ("STORE_UNAVAILABLE", "STORE_LAGGING")

    def __init__(self, message: str, *, reason: str | None = None, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_seconds = retry_after_seconds


class StoreDefect(GatehouseError):
    """The state store cannot be used: not there, damaged, of another format, in use. `str` is one line."""

    reasons = ("STORE_DEFECT",)


class DeadlineExpired(GatehouseError):
    """The deadline passed before the work began; nothing was applied."""

    reasons = ("DEADLINE_EXPIRED",)

    def __init__(
        self, message: str = "the deadline passed before the work began; nothing was applied. Allow more time"
    ) -> None:
        super().__init__(message)


class Draining(GatehouseError):
    """The server is shutting down; another replica, or this one after its restart, will serve."""

    reasons = ("DRAINING",)

    def __init__(
        self,
        message: str = "the server is shutting down; what has no answer was not applied. Send it again in a moment",
    ) -> None:
        super().__init__(message)


class Cancelled(GatehouseError):
    """The caller left before the work was done; nobody reads this answer."""

    reasons = ("CANCELLED",)

    def __init__(self, message: str = "the caller left before the work was done") -> None:
        super().__init__(message)


def printable(path: str | Path) -> str:
    """A path or its last part for people: file systems allow names that are not UTF-8, messages do not."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
