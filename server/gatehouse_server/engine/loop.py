"""The engine thread: it alone owns the device, the state tables and the sessions.

A turn of the loop takes everything that was submitted, runs at most one tick of every online model that has work,
then at most one slice of offline work, and wakes the event loop once for all answers of each. It never waits for
a batch to fill: what comes in while a tick runs makes the next batch.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.engine.ticket import ReplySink, Ticket
from gatehouse_server.errors import Draining, Overloaded

_log = structlog.get_logger(__name__)

ENGINE_THREAD = "gatehouse-engine"
"""Its name. What it dies of is told by `Engine.failure`."""

_LONGEST_WAIT_SECONDS = 3600.0
"""Longer than any other wait matters, and within what a lock can wait for."""

Answers = list[tuple[Ticket, object]]
Deliver = Callable[[Answers], None]


class Lane(Protocol):
    """One kind of work that the engine thread does. All calls come from that thread."""

    def accept(self, tickets: Sequence[Ticket], answers: Answers) -> None:
        """Takes new operations; may answer some of them at once."""

    def has_work(self) -> bool:
        """Whether `run` would do something."""

    def run(self, answers: Answers) -> None:
        """Does one tick or slice and appends what it finished."""

    def wakes_in_seconds(self) -> float | None:
        """In how long `housekeep` has something to do; absent when never."""

    def housekeep(self, answers: Answers) -> None:
        """Does what is due by time alone, such as expiry."""

    def abandon(self, answers: Answers) -> None:
        """Answers everything unfinished with Draining, for the end of the grace period."""


def deliver_to_sinks(answers: Answers) -> None:
    """Hands answers to their sinks, then flushes each sink once. Runs on the event loop's thread.

    A sink that breaks costs nobody else an answer.
    """
    touched: dict[int, ReplySink] = {}
    for ticket, outcome in answers:
        touched[id(ticket.sink)] = ticket.sink
        try:
            ticket.sink.add(ticket.tag, outcome)
        except Exception:
            _log.exception("an answer could not be delivered")
    for sink in touched.values():
        try:
            sink.flush()
        except Exception:
            _log.exception("an answer could not be delivered")


class Engine:
    """Runs the lanes on one thread and takes work from any other.

    `deliver` is called on the engine thread, once per lane and turn that finished something; it must hand the answers
    over to the event loop and return at once. `max_queued` bounds, for each lane by itself, the operations that were
    submitted and not yet answered: a flood of one kind of work must not have the other one refused.
    """

    def __init__(
        self,
        *,
        lanes: dict[type, Lane],
        observer: Observer,
        deliver: Deliver,
        max_queued: int = 16_384,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lanes = lanes
        self._distinct_lanes = list(dict.fromkeys(lanes.values()))
        self._observer = observer
        self._deliver = deliver
        self._max_queued = max_queued
        self.clock = clock
        self._inbox: deque[Ticket] = deque()
        self._not_accepted: list[tuple[Lane, list[Ticket]]] = []
        self._unanswered = dict.fromkeys(self._distinct_lanes, 0)
        self._changed = threading.Condition()
        self._draining = False
        self._stopping = False
        self._woken = False
        self._turn_began_seconds: float | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=ENGINE_THREAD, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def submit(self, ticket: Ticket) -> None:
        """Queues an operation. Raises Overloaded when the queue is full and Draining when the server stops."""
        self.submit_all((ticket,))

    def submit_all(self, tickets: Sequence[Ticket], *, begun: bool = False) -> None:
        """Queues operations of one lane in order, all or none. Raises Overloaded when they do not fit, Draining when
        stopping.

        What belongs to something that was `begun` before is refused by neither as long as the thread goes on.
        """
        if not tickets:
            return
        lane = self._lanes[type(tickets[0].operation)]
        with self._changed:
            ended = self._stopping or self._failure is not None
            if ended or (self._draining and not begun):
                raise Draining()
            unanswered = self._unanswered[lane]
            if not begun and unanswered + len(tickets) > self._max_queued:
                self._observer.happened(Happening.REFUSED_QUEUE_FULL, len(tickets))
                raise Overloaded(
                    f"{unanswered} operations are waiting, and {self._max_queued} may",
                    reason="QUEUE_FULL",
                    retry_after_seconds=0.1,
                )
            self._unanswered[lane] = unanswered + len(tickets)
            self._inbox.extend(tickets)
            self._changed.notify()

    def wake(self) -> None:
        """Has the loop take a turn: a lane has something to do that did not come as an operation. From any thread."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    @property
    def unanswered(self) -> int:
        """How many operations were submitted and not yet answered."""
        return sum(self._unanswered.values())

    @property
    def draining(self) -> bool:
        """Whether new operations are refused."""
        return self._draining

    def unanswered_by(self, lane: Lane) -> int:
        """How many of them are a lane's."""
        return self._unanswered[lane]

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread, if anything did."""
        return self._failure

    def stuck_for_seconds(self) -> float:
        """For how long the present turn has been running; 0 while the engine waits for work."""
        began = self._turn_began_seconds
        return 0.0 if began is None else max(0.0, self.clock() - began)

    def stack(self) -> str:
        """Where the thread is, as lines of a traceback; empty when it has ended. From any thread."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        return "" if frame is None else "".join(traceback.format_stack(frame))

    def drain(self) -> None:
        """From now on refuses new operations; what was submitted is finished."""
        with self._changed:
            self._draining = True
            self._changed.notify()

    def stop(self, timeout_seconds: float) -> bool:
        """Answers what is unfinished with Draining and ends the thread; tells whether it ended in time."""
        with self._changed:
            self._draining = True
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        answers: Answers = []
        try:
            while self._turn(answers):
                answers = []
        except BaseException as failure:  # the thread's last words: liveness reports it, callers are told
            self._failure = failure
            with self._changed:
                self._draining = True
                lost = [ticket for _, batch in self._not_accepted for ticket in batch] + list(self._inbox)
                self._inbox.clear()
            for lane in self._distinct_lanes:
                try:
                    lane.abandon(answers)
                except (
                    Exception
                ):  # the one that broke may break again; the other one's callers have to be told
                    _log.exception("a lane could not be abandoned")
            told = {ticket for ticket, _ in answers}
            answers += [(ticket, failure) for ticket in lost if ticket not in told]
            self._deliver(answers)
            raise

    def _turn(self, answers: Answers) -> bool:
        """One turn; false when it was the last. Appends to `answers`, so that a breaking lane loses none of them."""
        tickets, stopping = self._take()
        self._turn_began_seconds = self.clock()
        batches = self._not_accepted = self._by_lane(tickets)
        while batches:
            lane, batch = batches[0]
            lane.accept(batch, answers)
            del batches[0]
            self._hand_over(lane, answers)
        for lane in self._distinct_lanes:
            lane.housekeep(answers)
            if stopping:
                lane.abandon(answers)
            elif lane.has_work():
                lane.run(answers)
            self._hand_over(lane, answers)
        self._turn_began_seconds = None
        return not stopping

    def _hand_over(self, lane: Lane, answers: Answers) -> None:
        """Delivers a lane's answers and empties the list, at once: a tick's answers do not wait for a slice."""
        if not answers:
            return
        with self._changed:
            self._unanswered[lane] -= len(answers)
        self._deliver(answers.copy())
        answers.clear()

    def _take(self) -> tuple[list[Ticket], bool]:
        """Everything submitted since the last turn; waits only when no lane has work."""
        busy = any(lane.has_work() for lane in self._distinct_lanes)
        wakes = [seconds for lane in self._distinct_lanes if (seconds := lane.wakes_in_seconds()) is not None]
        with self._changed:
            if not self._inbox and not busy and not self._stopping and not self._woken:
                self._changed.wait(max(0.0, min(*wakes, _LONGEST_WAIT_SECONDS)) if wakes else None)
            self._woken = False
            tickets = list(self._inbox)
            self._inbox.clear()
            return tickets, self._stopping

    def _by_lane(self, tickets: Sequence[Ticket]) -> list[tuple[Lane, list[Ticket]]]:
        batches: dict[Lane, list[Ticket]] = {}
        for ticket in tickets:
            batches.setdefault(self._lanes[type(ticket.operation)], []).append(ticket)
        return list(batches.items())
