"""One session: its tape, its state and the writes that it can still answer again."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.rows import INITIAL_ROW, RowPool
from gatehouse_server.engine.ticket import ReplySink, Ticket
from gatehouse_server.sessions.stored import Stored
from gatehouse_server.sessions.tape import Inputs, Tape

if TYPE_CHECKING:
    from gatehouse_server.sessions.hosted_model import HostedModel

State = npt.NDArray[np.float32]
"""One state outside of the state table, (S,)."""

Conflict = tuple[weakref.ref[ReplySink], float]
"""The stream whose write lost against another writer's, and when it was told."""

INITIAL_STATE = 0
"""The number of the model's initial state, in every session."""


@dataclass(slots=True)
class AcceptedWrite:
    """A write that was applied.

    It put its steps at position `at`, where the state was the one of `number`; the tape then ended at `position`.
    `row` has that state; absent when it can be computed from the tape. `on_tape` holds as long as no later write went
    back below `at`: then the state is one of the present tape.
    `digest` is absent for writes that cannot be repeated by revision, such as a suggestion's.
    """

    revision: int
    digest: bytes | None
    at: int
    position: int
    number: int
    row: int | None
    on_tape: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A state of the present tape that is kept outside of the state table."""

    position: int
    number: int
    state: State


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """A running sequence in the state table. Changed on the engine thread alone, and only by a write that is done.

    States that are kept have numbers, which no two states of a session share. `row` has the state at the end of the
    tape, `state_number` is its number. `checkpoints` are in the order of their positions. `refused` is set when a write
    under a revision was refused, until one is accepted: what the client sent after it must not be applied. `conflict`
    is the stream whose write lost against another writer's, and when it was told: what that stream had sent by then was
    meant for its own tape. `stored` tells what a state store has of it; absent without a store. `gone` is set when the
    session left the state table while an operation had hold of it.
    """

    session_id: str
    model: HostedModel
    incarnation: int
    expires_seconds: float
    tape: Tape
    request_id: str | None = None
    revision: int = 0
    row: int = INITIAL_ROW
    state_number: int = INITIAL_STATE
    next_number: int = INITIAL_STATE + 1
    recent: deque[AcceptedWrite] = field(default_factory=deque)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    stored: Stored | None = None
    refused: bool = False
    gone: bool = False
    conflict: Conflict | None = None

    @property
    def position(self) -> int:
        """How many steps the session has consumed."""
        return self.tape.end

    @property
    def durable_revision(self) -> int:
        """The revision that a store has."""
        return 0 if self.stored is None else self.stored.revision

    @property
    def held_rows(self) -> int:
        """How many different rows of the state table it has."""
        rows = {self.row, *(write.row for write in self.recent if write.row is not None)}
        return len(rows - {INITIAL_ROW})

    def lost_before(self, ticket: Ticket) -> bool:
        """Whether the operation was sent before its stream knew that it had lost against another writer."""
        if self.conflict is None:
            return False
        stream, told_seconds = self.conflict
        return stream() is ticket.sink and ticket.received_seconds <= told_seconds

    @property
    def oldest_restorable_position(self) -> int:
        """The lowest position but 0 that a write can go back to; from there on all can be restored."""
        begin = self.tape.begin
        if begin == 0:
            return 0
        kept = [checkpoint.position for checkpoint in self.checkpoints]
        kept += [write.at for write in self.recent if write.on_tape and write.row is not None]
        return min((position for position in kept if position >= begin), default=self.position)

    def kept_row(self, position: int) -> tuple[int, int] | None:
        """Row and number of the state at a position, if it is in the state table."""
        if position == self.position:
            return self.row, self.state_number
        if position == 0:
            return INITIAL_ROW, INITIAL_STATE
        for write in self.recent:
            if write.at == position and write.on_tape and write.row is not None:
                return write.row, write.number
        return None

    def nearest_kept(self, position: int) -> tuple[int, int | Checkpoint] | None:
        """Where to begin to compute the state at `position`: a position before it with its row or checkpoint.

        Absent when the inputs from there on are not known.
        """
        best: tuple[int, int | Checkpoint] | None = (0, INITIAL_ROW) if self.tape.begin == 0 else None
        floor = self.tape.begin - 1 if best is None else 0
        for checkpoint in reversed(self.checkpoints):
            if checkpoint.position <= position:
                if checkpoint.position > floor:
                    best, floor = (checkpoint.position, checkpoint), checkpoint.position
                break
        for write in self.recent:
            if write.on_tape and write.row is not None and floor < write.at <= position:
                best, floor = (write.at, write.row), write.at
        return best

    def only_grows(self, at: int) -> bool:
        """Whether a write at a position takes nothing away from what is known of the tape."""
        return at == self.tape.end and self.model.kept_inputs_steps is None

    def leaving_tape(self, at: int, end: int) -> list[AcceptedWrite]:
        """Writes whose state has to be computed now, because a write from `at` to `end` takes away the tape that it
        comes from: what it replaces, and what is then too long ago.
        """
        if self.only_grows(at):
            return []
        kept = self.model.kept_inputs_steps
        first = 0 if kept is None else end - kept
        return [
            write
            for write in self.recent
            if write.on_tape
            and write.row is None
            and write.digest is not None
            and not first <= write.at <= at
        ]

    def new_number(self) -> int:
        """A number for a state that is about to be kept."""
        self.next_number += 1
        return self.next_number - 1

    def accept(
        self,
        *,
        at: int,
        inputs: Inputs,
        source: tuple[int, int],
        target: tuple[int, int],
        checkpoints: Iterable[Checkpoint],
        digest: bytes | None,
    ) -> None:
        """Applies a write: the only way in which tape, position and revision change.

        `source` and `target` are row and number of the states before and after it; takes over the caller's hold on both
        rows.
        """
        model, tape, recent = self.model, self.tape, self.recent
        pool = model.rows
        if at < tape.end:
            for write in recent:
                write.on_tape = write.on_tape and write.at <= at
            while self.checkpoints and self.checkpoints[-1].position > at:
                self.checkpoints.pop()
        pool.release(self.row)
        self.row, self.state_number = target
        tape.put(at, inputs)
        if self.stored is not None:
            self.stored.cut(at)
        position = tape.end
        self.checkpoints.extend(checkpoints)
        if model.kept_inputs_steps is not None and self.checkpoints:
            self._forget_before(position - model.kept_inputs_steps)
        self.revision = revision = self.revision + 1
        self.refused = False
        row, number = source
        recent.append(AcceptedWrite(revision, digest, at, position, number, row))
        oldest = revision - model.limits.recent_writes
        while recent[0].revision <= oldest:
            left = recent.popleft().row
            if left is not None:
                pool.release(left)

    def let_go(self) -> None:
        """Gives its rows back. It must not be used any more."""
        pool: RowPool = self.model.rows
        pool.release(self.row)
        self.row = INITIAL_ROW
        while self.recent:
            row = self.recent.popleft().row
            if row is not None:
                pool.release(row)

    def _forget_before(self, position: int) -> None:
        """Lets go of inputs and checkpoints that nothing from `position` on needs."""
        first = 0
        while first + 1 < len(self.checkpoints) and self.checkpoints[first + 1].position <= position:
            first += 1
        if self.checkpoints[first].position <= position:
            del self.checkpoints[:first]
            self.tape.forget_before(self.checkpoints[0].position)
