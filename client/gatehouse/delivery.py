"""One write on its way to the server: what to send next, given what was answered. No I/O and no waiting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from gatehouse import decoding, failures
from gatehouse.errors import (
    ClientClosedError,
    DeadlineExceededError,
    GatehouseError,
    InvalidInputError,
    OutOfRangeError,
    OverloadedError,
    PrecedingWriteRefusedError,
    RevisionConflictError,
    RevisionError,
    SessionDamagedError,
    SessionNotFoundError,
    SessionUnknownError,
    StateBehindError,
    UnavailableError,
)
from gatehouse.ledger import Ledger
from gatehouse.patience import Deadline, pauses
from gatehouse.results import WriteResult
from gatehouse.v1 import online_pb2

_REFUSED = (InvalidInputError, OutOfRangeError, RevisionConflictError, PrecedingWriteRefusedError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the server says that the session stands."""

    incarnation: int
    revision: int
    position: int

    @classmethod
    def told_by(cls, error: RevisionError) -> Standing | None:
        """What an error tells of it; None when that is not all."""
        if error.incarnation is None or error.revision is None or error.position is None:
            return None
        return cls(incarnation=error.incarnation, revision=error.revision, position=error.position)


class Delivery:
    """Brings the unanswered write of a session to its answer, over interruptions and over losses of the server.

    When the server says that it stands at revision r of some life of the session, and r is before the write: the
    client's own write r is sent again in that life, which the server answers again only if it is that very write;
    then those after r, which are applied again; then the write itself. A further interruption begins this anew.
    When that is impossible, StateBehindError is raised and nothing was put on a foreign tape.

    Until the answer is there: send `next_write`, give what came of it to `answered` or `failed`, and pause as
    `failed` says. Dropping a delivery half-way is fine: what it had sent stands in the ledger.
    """

    def __init__(self, ledger: Ledger, deadline: Deadline) -> None:
        self.answer: WriteResult | None = None
        self._ledger = ledger
        self._deadline = deadline
        self._write, self._doubted = ledger.hand_out()
        self._incarnation = ledger.state.incarnation
        self._own_revision = self._revision = self._write.revision
        self._unavailable: UnavailableError | None = None
        self._standing: Standing | None = None
        self._furthest: int | None = None
        self._attempted = False
        self._gets_on = True
        self._pauses = pauses()
        self._rounds = pauses()

    def next_write(self) -> online_pb2.SessionWrite:
        """What to send now."""
        write = self._write
        if self._revision < self._own_revision:
            earlier = self._ledger.history.at(self._revision)
            assert earlier is not None, "whatever is to be sent again was found in the history"
            write = earlier.write
        if write.incarnation != self._incarnation:
            original, write = write, online_pb2.SessionWrite()
            write.CopyFrom(original)
            write.incarnation = self._incarnation
        return write

    def attempt_seconds(self) -> float:
        """How long to wait for its answer."""
        return self._deadline.attempt_seconds()

    def answered(self, result: online_pb2.WriteResult) -> None:
        """Takes the answer to `next_write`. Raises StateBehindError when it tells of another tape."""
        self._attempted = True
        if self._revision == self._own_revision:
            self.answer = self._ledger.accept(result)
            if self._standing is not None:
                self._ledger.count(resumed=1)
            return
        if self._furthest is None or self._revision > self._furthest:
            self._furthest, self._gets_on = self._revision, True
            self._pauses, self._rounds = pauses(), pauses()
        state = decoding.session_state(result.state)
        if (state.revision, state.position) != (
            self._revision,
            self._ledger.history.position_at(self._revision),
        ):
            raise self._refused(self._lost("a write that was sent again led elsewhere than the first time"))
        assert self._standing is not None, "nothing is sent again before the server told its standing"
        if self._revision > self._standing.revision:
            self._ledger.count(replayed_writes=1)
            self._standing = Standing(
                incarnation=state.incarnation, revision=state.revision, position=state.position
            )
        self._ledger.relive(state)
        self._revision += 1

    def failed(self, error: GatehouseError) -> float:
        """Takes the failure of `next_write`: how many seconds to pause before the next one. Raises what ends the
        delivery.
        """
        on_its_own = self._revision == self._own_revision
        if on_its_own and failures.leaves_doubt(error):
            self._doubted = True
        self._attempted = True
        if isinstance(error, ClientClosedError):
            raise self._refused(error)
        if isinstance(error, StateBehindError):
            return self._catch_up(error)
        if isinstance(error, (UnavailableError, DeadlineExceededError)):
            self._ledger.count(interruptions=1)
            # When time is up, it tells what kept the server from answering; that the last try was short is no news.
            if isinstance(error, UnavailableError):
                self._unavailable = error
            return self._pause(error, error if error.reason else self._unavailable or error)
        if self._standing is not None and isinstance(error, OverloadedError):
            return self._pause(error, error)
        if not on_its_own and isinstance(error, _REFUSED):
            if isinstance(error, RevisionError):
                self._standing = Standing.told_by(error) or self._standing
            why = (
                "somebody else wrote to it"
                if isinstance(error, RevisionConflictError)
                else f"a write that has to be made again is refused now ({error.message})"
            )
            raise self._refused(self._lost(why)) from error
        if isinstance(error, SessionNotFoundError | SessionDamagedError):
            raise self._refused(explained(error, self._ledger)) from error
        raise self._refused(error)

    def not_sent(self, error: Exception) -> Exception:
        """Takes that `next_write` was not sent, since client or stream are closed: what to raise. The write is taken
        back, unless an earlier attempt may have been applied.
        """
        if not self._doubted:
            self._ledger.withdraw()
        return failures.client_closed() if self._attempted else error

    def _catch_up(self, error: StateBehindError) -> float:
        """Begins anew from where the server says it stands."""
        before, standing = self._standing, Standing.told_by(error)
        self._standing = standing
        if standing is None:
            raise self._refused(error)
        if standing != before:
            self._pauses = pauses()  # the server is there, and this is news: whatever failed before is over
        self._incarnation = standing.incarnation
        self._revision = self._own_revision
        if standing.revision < self._own_revision:
            history = self._ledger.history
            mine, following = history.position_at(standing.revision), standing.revision + 1
            if mine is None or (following < self._own_revision and history.at(following) is None):
                raise self._refused(self._lost("it lost more than this client has kept")) from error
            if mine != standing.position:
                raise self._refused(self._lost("somebody else wrote to it")) from error
            self._revision = following if history.at(standing.revision) is None else standing.revision
        if self._gets_on:
            self._gets_on = False
            return 0.0
        late = DeadlineExceededError(
            f"session {self._ledger.session_id} could not be brought up to date in time: the server lost its state "
            "again and again"
        )
        return self._pause(error, late, self._rounds)

    def _pause(
        self, error: GatehouseError, too_late: GatehouseError, lengths: Iterator[float] | None = None
    ) -> float:
        told_seconds = error.retry_after_seconds or 0.0
        seconds = self._deadline.pause_seconds(next(lengths or self._pauses), told_seconds=told_seconds)
        if seconds is None:
            raise self._refused(too_late)
        return seconds

    def _lost(self, why: str) -> StateBehindError:
        """The session cannot be resumed; says from where to start."""
        standing = self._standing
        assert standing is not None, "nothing is lost before the server told its standing"
        return StateBehindError(
            f"session {self._ledger.session_id} cannot be resumed: {why}. The server stands at revision "
            f"{standing.revision}. Call refresh() and write from position {standing.position}",
            reason="STATE_BEHIND",
            metadata={name: str(value) for name, value in asdict(standing).items()},
        )

    def _refused(self, error: GatehouseError) -> GatehouseError:
        self._ledger.refuse(error, doubted=self._doubted)
        return error


def explained(
    error: SessionNotFoundError | SessionDamagedError, ledger: Ledger
) -> SessionNotFoundError | SessionDamagedError:
    """The same, with what to do."""
    forgotten = isinstance(error, SessionUnknownError) and not ledger.outlives_server
    why = " (the server keeps sessions in memory only: none outlives a restart)" if forgotten else ""
    return type(error)(
        f"{error.message.rstrip('.')}{why}. Make a new session and write its steps from position 0",
        reason=error.reason,
        metadata=error.metadata,
        violations=error.violations,
        retry_after_seconds=error.retry_after_seconds,
    )
