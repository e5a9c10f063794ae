"""One session: its tape, its state and the writes that it can still answer again."""

from __future__ import annotations

import weakref
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.rows import INITIAL_ROW, RowPool
from gatehouse_server.engine.ticket import ReplySink, Ticket

if TYPE_CHECKING:
    from gatehouse_server.sessions.hosted_model import HostedModel


@dataclass(slots=True, kw_only=True)
class AcceptedWrite:
    """A write that was applied.

    It put its steps at position `at`, where the state was that of `row`; the tape then ended at `position`.
    `on_tape` holds as long as no later write went back below `at`: then `row` is a state of the present tape.
    `digest` is absent for writes that cannot be repeated by revision, such as a suggestion's.
    """

    revision: int
    digest: bytes | None
    at: int
    position: int
    row: int
    on_tape: bool = True


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """A running sequence. Changed on the engine thread alone, and only by a write that is done.

    `row` holds the state at `position`. `tape` holds the tokens; models that take features keep none, and count
    their steps only. `waiting` are operations not yet begun; one at a time is `busy`. `refused` is set when a write
    under a revision was refused, until one is accepted: what the client sent after it must not be applied. `conflict`
    is the stream whose write lost against another writer's, and when it was told: what that stream had sent by then was
    meant for its own tape.
    """

    session_id: str
    model: HostedModel
    incarnation: int
    expires_seconds: float
    request_id: str | None = None
    revision: int = 0
    position: int = 0
    row: int = INITIAL_ROW
    tape: array[int] = field(default_factory=lambda: array("i"))
    recent: deque[AcceptedWrite] = field(default_factory=deque)
    waiting: deque[Ticket] = field(default_factory=deque)
    busy: bool = False
    refused: bool = False
    conflict: tuple[weakref.ref[ReplySink], float] | None = None

    def lost_before(self, ticket: Ticket) -> bool:
        """Whether the operation was sent before its stream knew that it had lost against another writer."""
        if self.conflict is None:
            return False
        stream, told_seconds = self.conflict
        return stream() is ticket.sink and ticket.received_seconds <= told_seconds

    @property
    def oldest_restorable_position(self) -> int:
        """The lowest position but 0 that a write can go back to."""
        if self.model.keeps_tokens:
            return 0
        return min((write.at for write in self.recent if write.on_tape), default=self.position)

    def nearest_kept(self, position: int) -> tuple[int, int]:
        """The kept state of the present tape at or before `position`: its position and row."""
        if position == self.position:
            return position, self.row
        best_position, best_row = 0, INITIAL_ROW
        for write in self.recent:
            if write.on_tape and best_position < write.at <= position:
                best_position, best_row = write.at, write.row
        return best_position, best_row

    def tokens(self, begin: int, end: int) -> npt.NDArray[np.int64]:
        """The tape's tokens of the steps from position `begin` to `end`, (end - begin,)."""
        return np.array(self.tape[begin:end], dtype=np.int64)

    def accept(
        self,
        *,
        at: int,
        tokens: Sequence[int],
        steps: int,
        source_row: int,
        new_row: int,
        digest: bytes | None,
    ) -> None:
        """Applies a write: the only way in which tape, position and revision change.

        Takes over the caller's hold on both rows.
        """
        pool, keep = self.model.rows, self.model.limits.recent_writes
        if at < self.position:
            for write in self.recent:
                write.on_tape = write.on_tape and write.at <= at
        pool.release(self.row)
        self.row = new_row
        if self.model.keeps_tokens:
            del self.tape[at:]
            self.tape.extend(tokens)
        self.position = at + steps
        self.revision += 1
        self.refused = False
        self.recent.append(
            AcceptedWrite(
                revision=self.revision, digest=digest, at=at, position=self.position, row=source_row
            )
        )
        while len(self.recent) > keep:
            pool.release(self.recent.popleft().row)

    def let_go(self) -> None:
        """Ends the session and gives its rows back."""
        pool: RowPool = self.model.rows
        pool.release(self.row)
        while self.recent:
            pool.release(self.recent.popleft().row)
        self.row = INITIAL_ROW
        del self.tape[:]
