"""What can go wrong, as one tree of exceptions. Programs catch the classes; `reason` tells apart what they
join.

GatehouseError
├── UnavailableError              no answer: unreachable, shutting down, the connection broke, no state store
│   ├── SessionMovedError         another replica took the session over; asked again, it comes back
│   └── ClientClosedError         this client was closed while the call was under way
├── DeadlineExceededError         no answer in time (also a TimeoutError)
├── OverloadedError               a queue, the session table or memory is full; see `retry_after_seconds`
├── InvalidInputError             malformed or out of range (also a ValueError); see `violations`
├── MessageTooLargeError          a message is larger than one side accepts
├── OutOfRangeError
│   ├── PositionNotRetainedError  the state at that position can no longer be restored
│   └── TapeFullError             the tape has reached its greatest length
├── NotFoundError
│   ├── ModelNotFoundError        no model of that name or version
│   └── SessionNotFoundError      no such session; `reason` tells what became of it (also a SessionLostError)
│       ├── SessionUnknownError   it never was, or its end is forgotten
│       ├── SessionExpiredError   it was idle for too long
│       ├── SessionDeletedError   somebody deleted it
│       └── SessionEvictedError   the operator removed it
├── SessionExistsError            the identifier of a session to be made is taken
├── RevisionError                 says where the server stands: `incarnation`, `revision`, `position`
│   ├── RevisionConflictError     an older revision, or other content than the write accepted under it
│   ├── StateBehindError          what the server lost cannot be sent again (also a SessionLostError)
│   └── PrecedingWriteRefusedError  an earlier write of the same pipeline was refused
├── PreconditionError
│   ├── ModelFailedError          the model is known, but could not be loaded
│   ├── ModelMismatchError        the session runs on another model than the call names
│   └── ModelNotLoadedError       the session is kept, but its model is not served now
├── AccessError                   no or wrong credentials
├── SessionLostError              cannot be resumed: start again from `restart_position`
│   ├── StateBehindError          see above
│   ├── SessionNotFoundError      see above
│   └── SessionDamagedError       what is stored of the session cannot be read (also a ServerError)
├── ServerError                   the server failed; its log has more under the id in `metadata`
├── UnansweredWriteError          an earlier write of this session has no answer: `repeat` or `refresh`
└── DuplicateDocumentError        two documents with one id at the same time (also a ValueError)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One field of a request that was not accepted: its path, as `write.tokens.ids[3]`, and why."""

    field: str
    description: str


class GatehouseError(Exception):
    """The root of the tree.

    `reason` is a stable UPPER_SNAKE string, None when the failure arose on the way rather than in the server.
    `metadata` holds the facts of the case as strings, `violations` the fields that were not accepted.
    `retry_after_seconds` is how long to wait before trying again, when the server told.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        violations: tuple[Violation, ...] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))
        self.violations = violations
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(GatehouseError):
    """No answer: the server cannot be reached, is shutting down, the connection broke, or its state store does not
    answer or lags too far behind (`reason` STORE_UNAVAILABLE or STORE_LAGGING).
    """


class SessionMovedError(UnavailableError):
    """Another replica has taken the session over, so nothing that lasts was done here. Asked again, the session
    is found; writes of a session do so by themselves.
    """


class ClientClosedError(UnavailableError):
    """This client was closed while the call was under way (`reason` CLIENT_CLOSED): no answer comes any more."""


class SessionLostError(GatehouseError):
    """The session cannot go on by itself. The message says what to do; `restart_position` is the position from
    which the application has to give its steps again.
    """

    @property
    def restart_position(self) -> int:
        """How many steps are still there: 0 unless the server has some of them."""
        return 0


class DeadlineExceededError(GatehouseError, TimeoutError):
    """No answer in time. With a `reason` nothing was done, says the server; without one nothing is known."""


class OverloadedError(GatehouseError):
    """Something bounded is full. Trying again after `retry_after_seconds` may succeed."""


class InvalidInputError(GatehouseError, ValueError):
    """The call has something malformed or out of range. Nothing of it was applied."""


class MessageTooLargeError(GatehouseError):
    """A message is larger than the client or the server accepts."""


class OutOfRangeError(GatehouseError):
    """A position lies outside of what the session has or may have."""


class PositionNotRetainedError(OutOfRangeError):
    """The state at that position can no longer be restored; `metadata` has the range that can."""


class TapeFullError(OutOfRangeError):
    """The write would make the tape longer than it may be."""


class NotFoundError(GatehouseError):
    """There is no such thing."""


class ModelNotFoundError(NotFoundError):
    """No model of that name or version is served."""


class SessionNotFoundError(NotFoundError, SessionLostError):
    """There is no such session (any more). To go on, make one and write from position 0."""


class SessionUnknownError(SessionNotFoundError):
    """The session never was, or its end is forgotten."""


class SessionExpiredError(SessionNotFoundError):
    """The session was idle for too long."""


class SessionDeletedError(SessionNotFoundError):
    """The session was deleted by a client."""


class SessionEvictedError(SessionNotFoundError):
    """The session was removed by the operator."""


class SessionExistsError(GatehouseError):
    """The identifier of a session to be made is taken; `attach` goes on with it."""


class RevisionError(GatehouseError):
    """The session is not where the write expects it. Nothing was applied."""

    @property
    def incarnation(self) -> int | None:
        """The session's incarnation on the server."""
        return self._fact("incarnation")

    @property
    def revision(self) -> int | None:
        """The last revision that the server has."""
        return self._fact("revision")

    @property
    def position(self) -> int | None:
        """How many steps the session has consumed on the server."""
        return self._fact("position")

    def _fact(self, name: str) -> int | None:
        value = self.metadata.get(name)
        return int(value) if value is not None else None


class RevisionConflictError(RevisionError):
    """Somebody else wrote to the session: the revision is taken by another write."""


class StateBehindError(RevisionError, SessionLostError):
    """The server has less of the session than this client, or another tape, and this client's writes cannot mend
    it: some are no longer kept, or somebody else wrote in between. `refresh()`, then write from
    `restart_position`, which is where the server stands.
    """

    @property
    def restart_position(self) -> int:
        """Where the server stands."""
        return self.position or 0


class PrecedingWriteRefusedError(RevisionError):
    """An earlier write of the same pipeline was refused, so this one would land on a tape it was not meant
    for.
    """


class PreconditionError(GatehouseError):
    """The call does not fit what the server has."""


class ModelFailedError(PreconditionError):
    """The model is known, but its folder could not be loaded."""


class ModelMismatchError(PreconditionError):
    """The session stays on its own model, and the call names another one."""


class ModelNotLoadedError(PreconditionError):
    """The session is kept, but the model that it runs on is not served now, or has changed."""


class AccessError(GatehouseError):
    """No or wrong credentials, or not allowed."""


class ServerError(GatehouseError):
    """The server failed, or does not know the call."""


class SessionDamagedError(ServerError, SessionLostError):
    """What the server's store holds of the session cannot be read. It is kept for the operator to look at. To go
    on, make another session and write from position 0.
    """


class UnansweredWriteError(GatehouseError):
    """An earlier write of this session has no answer: it may or may not have been applied.

    `Session.repeat()` sends it again, which is harmless; `Session.refresh()` looks where the session stands.
    """


class DuplicateDocumentError(GatehouseError, ValueError):
    """A document has the id of another one that has no result yet."""
