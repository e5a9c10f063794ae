"""The operations on sessions, in the order of each session: one under way, others waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any

from gatehouse_server.engine.job import Job
from gatehouse_server.engine.loop import Answers
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import Draining, StoreUnavailable
from gatehouse_server.panics import as_defect
from gatehouse_server.sessions.steps import Step, StoreStep, Wait
from gatehouse_server.sessions.work import Work
from gatehouse_server.stores.port import StoreFailure

Start = Callable[[Any, str, Work], Generator[Step, Any, object]]
"""Begins an operation, given with the key of its line."""


class Line:
    """The operations on one session, whether it is there or not."""

    __slots__ = ("job", "key", "running", "ticket", "waiting")

    def __init__(self, key: str) -> None:
        self.key = key
        self.waiting: deque[Ticket] | None = (
            None  # made when something waits: most lines are of one operation
        )
        self.ticket: Ticket | None = None
        self.running: Generator[Step, Any, object] | None = None
        self.job: Job | None = None


class Lines:
    """Runs operations, each from step to step. `ended` hears of each one's end: key, ticket and outcome.

    `lines`, empty at first, has the lines that are not, by their keys.
    `starts` tells how operations begin, by their type; `make_room` makes room for one more live session, if it can.
    """

    def __init__(
        self,
        lines: dict[str, Line],
        *,
        starts: Mapping[type, Start],
        ended: Callable[[str, Ticket, object], None],
        make_room: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._starts = starts
        self._ended = ended
        self._make_room = make_room
        self._clock = clock
        self._lines = lines
        self._free_again: deque[Line] = deque()
        self._without_room: deque[Line] = deque()
        self._slow: deque[Line] = deque()
        self._changing: set[Line] = set()  # those that wait for the store to change something

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, key: object) -> bool:
        return key in self._lines

    @property
    def has_free(self) -> bool:
        """Whether `begin_waiting` or `go_on_with_slow` has something to look at."""
        return bool(self._free_again or self._slow)

    def add(self, key: str, ticket: Ticket) -> None:
        """Begins an operation, or has it wait for those before it in its line."""
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(key)
        elif line.running is not None or line.waiting:
            if line.waiting is None:
                line.waiting = deque()
            line.waiting.append(ticket)
            return
        self._begin(line, ticket)

    def begin_waiting(self) -> None:
        """Begins the next operation of each line that has become free. A loop: operations may end at once."""
        while self._free_again:
            line = self._free_again.popleft()
            between = bool(line.waiting) and line.running is None
            if self._without_room:
                if between:
                    # Nothing of it is under way: its session may leave for those who have been waiting for longer.
                    del self._lines[line.key]
                self._give_room()
                if between:
                    self._lines[line.key] = line
            if between and line.waiting:
                self._begin(line, line.waiting.popleft())

    def _give_room(self) -> None:
        for _ in range(len(self._without_room)):
            if not self._make_room():
                break
            self._resume(self._without_room.popleft(), None, None)

    def go_on_with_slow(self) -> None:
        """Resumes one operation that waits for a turn, whoever waits longest. Once in a turn."""
        if self._slow:
            self._resume(self._slow.popleft(), None, None)

    def give_up(self) -> Answers:
        """Ends all operations: their answers. None of them is applied, except that what the store was asked to change
        already it may change yet.
        """
        answers: Answers = []
        for line in self._lines.values():
            if line.job is not None:
                line.job.cancelled = True
            if line.running is not None:
                line.running.close()
            if line.ticket is not None:
                answers.append((line.ticket, _uncertain() if line in self._changing else Draining()))
            answers += [(ticket, Draining()) for ticket in line.waiting or ()]
        self._lines.clear()
        self._free_again.clear()
        self._without_room.clear()
        self._slow.clear()
        self._changing.clear()
        return answers

    def _begin(self, line: Line, ticket: Ticket) -> None:
        line.ticket = ticket
        operation = ticket.operation
        work = Work(ticket, partial(self._resume, line), self._clock)
        line.running = self._starts[type(operation)](operation, line.key, work)
        self._resume(line, None, None)

    def _resume(self, line: Line, value: object, failure: Exception | None) -> None:
        """Lets the line's operation run up to its next step, or to its end. What it waited for, be it a job that is
        done, is what it is resumed with.
        """
        running = line.running
        assert running is not None, "only what was begun is resumed"
        line.job = None
        try:
            step = running.send(value) if failure is None else running.throw(failure)
        except StopIteration as finished:
            self._settle(line, finished.value)
        except BaseException as error:
            self._settle(line, as_defect(error))
        else:
            if isinstance(step, Job):
                line.job = step
            elif isinstance(step, StoreStep):
                if step.changes:
                    self._changing.add(line)
                step.begin(partial(self._store_answered, line, running))
            elif step is Wait.FOR_A_TURN:
                self._slow.append(line)
            else:
                self._without_room.append(line)

    def _store_answered(self, line: Line, running: object, outcome: object) -> None:
        if line.running is not running:
            return  # the operation was given up meanwhile
        self._changing.discard(line)
        if isinstance(outcome, StoreFailure):
            self._resume(line, None, StoreUnavailable(f"the state store fails: {outcome}"))
        else:
            self._resume(line, outcome, None)

    def _settle(self, line: Line, outcome: object) -> None:
        """Tells of the end of the line's operation; the next one begins later, if one waits."""
        ticket = line.ticket
        assert ticket is not None, "only what was begun is settled"
        line.ticket = line.running = None
        self._ended(line.key, ticket, outcome)
        if line.waiting or self._without_room:
            self._free_again.append(line)
        if not line.waiting:
            del self._lines[line.key]


def _uncertain() -> StoreUnavailable:
    return StoreUnavailable(
        "the server is shutting down while the state store is at it: it may have been applied, or not. Send it again "
        "under the same revision or request_id, in a moment"
    )
