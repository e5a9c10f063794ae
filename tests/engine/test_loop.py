"""The engine thread: takes work from anywhere, answers once per turn, refuses when full, drains and stops."""

import threading
from dataclasses import dataclass

import pytest
from gatehouse_server.engine.loop import Answers, Engine, deliver_to_sinks
from gatehouse_server.engine.observer import SilentObserver
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import Draining, Overloaded
from structlog.testing import capture_logs


@dataclass(frozen=True)
class Question:
    """Work of the test's lane."""

    number: int


class GatedLane:
    """Answers what it has when its gate is open, all at once."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.gate = threading.Event()
        self.running = threading.Event()
        if is_open:
            self.gate.set()
        self.held: list[Ticket] = []
        self.turns = 0

    def accept(self, tickets, answers):
        self.held.extend(tickets)

    def has_work(self):
        return bool(self.held)

    def run(self, answers):
        self.running.set()
        self.gate.wait(timeout=30)
        self.turns += 1
        answers.extend((ticket, ticket.operation.number) for ticket in self.held)
        self.held.clear()

    def wakes_in_seconds(self):
        return None

    def housekeep(self, answers):
        pass

    def abandon(self, answers):
        answers.extend((ticket, Draining()) for ticket in self.held)
        self.held.clear()


class Inbox:
    """Collects deliveries and lets the test wait for them."""

    def __init__(self) -> None:
        self.deliveries: list[Answers] = []
        self._changed = threading.Condition()

    def deliver(self, answers):
        with self._changed:
            self.deliveries.append(answers)
            self._changed.notify_all()

    def outcomes(self, count):
        """The first `count` outcomes, in order of delivery."""
        with self._changed:
            assert self._changed.wait_for(lambda: sum(map(len, self.deliveries)) >= count, timeout=30)
            return [outcome for answers in self.deliveries for _, outcome in answers]


@dataclass(frozen=True)
class OtherQuestion:
    """Work of another lane."""

    number: int


def make_engine(lane, inbox, **settings):
    """An engine with one lane, started."""
    engine = Engine(lanes={Question: lane}, observer=SilentObserver(), deliver=inbox.deliver, **settings)
    engine.start()
    return engine


def ticket(number):
    """A ticket nobody waits for."""
    return Ticket(operation=Question(number), sink=None, tag=number, received_seconds=0.0)


def test_what_comes_in_while_a_tick_runs_makes_the_next_batch():
    """Work that waits is answered together: one wake-up for all of it."""
    lane, inbox = GatedLane(is_open=False), Inbox()
    engine = make_engine(lane, inbox)
    engine.submit(ticket(0))
    assert lane.running.wait(timeout=30)
    for number in range(1, 50):
        engine.submit(ticket(number))
    lane.gate.set()
    assert inbox.outcomes(50) == list(range(50))
    assert [len(answers) for answers in inbox.deliveries] == [1, 49]
    assert engine.stop(30)


def test_a_full_queue_refuses_and_says_when_to_try_again():
    """Operations beyond the bound are refused, all of a message or none; answered ones make room."""
    lane, inbox = GatedLane(is_open=False), Inbox()
    engine = make_engine(lane, inbox, max_queued=3)
    engine.submit_all([ticket(0), ticket(1)])
    with pytest.raises(Overloaded) as caught:
        engine.submit_all([ticket(2), ticket(3)])
    assert caught.value.reason == "QUEUE_FULL"
    assert caught.value.retry_after_seconds > 0
    engine.submit(ticket(4))
    lane.gate.set()
    inbox.outcomes(3)
    engine.submit(ticket(5))
    assert inbox.outcomes(4)[-1] == 5
    assert engine.stop(30)


def test_a_lane_whose_queue_is_full_does_not_fill_the_other_ones():
    """A flood of documents must not have sessions refused."""
    flooded, quiet, inbox = GatedLane(is_open=False), GatedLane(), Inbox()
    engine = Engine(
        lanes={Question: flooded, OtherQuestion: quiet},
        observer=SilentObserver(),
        deliver=inbox.deliver,
        max_queued=2,
    )
    engine.start()
    engine.submit_all([ticket(0), ticket(1)])
    other = [
        Ticket(operation=OtherQuestion(number), sink=None, tag=number, received_seconds=0.0)
        for number in (10, 11, 12)
    ]
    engine.submit_all(other[:2])
    for full in (ticket(2), other[2]):
        with pytest.raises(Overloaded):
            engine.submit(full)
    assert [engine.unanswered_by(lane) for lane in (flooded, quiet)] == [2, 2]
    flooded.gate.set()
    assert sorted(inbox.outcomes(4)) == [0, 1, 10, 11]
    assert engine.unanswered == 0
    assert engine.stop(30)


def test_a_sink_that_breaks_costs_nobody_else_an_answer():
    """Neither in taking an answer nor in passing it on; the log tells of it."""

    class Sink:
        def __init__(self, *, breaks=""):
            self.breaks, self.calls = breaks, []

        def add(self, tag, outcome):
            if self.breaks == "add":
                raise ZeroDivisionError
            self.calls.append(outcome)

        def flush(self):
            if self.breaks == "flush":
                raise ZeroDivisionError
            self.calls.append("flush")

    sinks = [Sink(breaks="add"), Sink(breaks="flush"), Sink()]
    with capture_logs() as logs:
        deliver_to_sinks(
            [
                (Ticket(operation=Question(1), sink=sink, tag=0, received_seconds=0.0), number)
                for number, sink in enumerate(sinks)
            ]
        )
    assert [sink.calls for sink in sinks] == [["flush"], [1], [2, "flush"]]
    assert [line["event"] for line in logs] == ["an answer could not be delivered"] * 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_everybody_is_told_when_a_lane_breaks():
    """Those whose operations it was about to take, of another lane too, also when it cannot even be abandoned."""

    class BreakingLane(GatedLane):
        def accept(self, tickets, answers):
            raise ZeroDivisionError

        def abandon(self, answers):
            raise ZeroDivisionError

    waiting, inbox = threading.Event(), Inbox()

    class WaitingLane(GatedLane):
        def housekeep(self, answers):
            waiting.wait(30)

    other = WaitingLane()
    engine = Engine(
        lanes={Question: BreakingLane(), OtherQuestion: other},
        observer=SilentObserver(),
        deliver=inbox.deliver,
    )
    engine.wake()
    engine.submit_all([ticket(0), ticket(1)])
    engine.submit(Ticket(operation=OtherQuestion(2), sink=None, tag=2, received_seconds=0.0))
    waiting.set()
    engine.start()
    assert len(inbox.outcomes(3)) == 3
    assert all(isinstance(outcome, ZeroDivisionError) for outcome in inbox.outcomes(3))
    assert engine.stop(30)


@pytest.mark.parametrize("seconds", [1e10, 1e300])
def test_a_lane_may_have_nothing_due_for_ages(seconds):
    """What is set to never happen is due later than a lock can wait for."""
    lane, inbox = GatedLane(), Inbox()
    lane.wakes_in_seconds = lambda: seconds
    engine = make_engine(lane, inbox)
    engine.submit(ticket(1))
    assert inbox.outcomes(1) == [1]
    engine.submit(ticket(2))
    assert inbox.outcomes(2) == [1, 2]
    assert engine.stop(30)


def test_it_can_be_seen_where_a_turn_stands_still():
    """From another thread; an engine that has ended stands nowhere."""
    lane, inbox = GatedLane(is_open=False), Inbox()
    engine = make_engine(lane, inbox)
    engine.submit(ticket(0))
    assert lane.running.wait(30)
    assert "self.gate.wait" in engine.stack()
    lane.gate.set()
    assert engine.stop(30)
    assert engine.stack() == ""


def test_what_has_begun_is_taken_until_the_thread_ends():
    """Neither a full queue nor draining refuses what belongs to it; stopping does."""
    lane, inbox = GatedLane(is_open=False), Inbox()
    engine = make_engine(lane, inbox, max_queued=1)
    engine.submit(ticket(0))
    engine.submit_all([ticket(1), ticket(2)], begun=True)
    engine.drain()
    engine.submit_all([ticket(3)], begun=True)
    lane.gate.set()
    assert sorted(inbox.outcomes(4)) == [0, 1, 2, 3]
    assert engine.stop(30)
    with pytest.raises(Draining):
        engine.submit_all([ticket(4)], begun=True)


def test_draining_refuses_new_work_and_finishes_the_old():
    """After drain, what was submitted is answered, and nothing new is taken."""
    lane, inbox = GatedLane(is_open=False), Inbox()
    engine = make_engine(lane, inbox)
    engine.submit(ticket(0))
    engine.drain()
    with pytest.raises(Draining):
        engine.submit(ticket(1))
    lane.gate.set()
    assert inbox.outcomes(1) == [0]
    assert engine.stop(30)


def test_stopping_answers_what_is_unfinished():
    """Whoever still waits at the end is told that the server is going."""
    lane, inbox = GatedLane(is_open=False), Inbox()
    engine = make_engine(lane, inbox)
    engine.submit(ticket(0))
    assert lane.running.wait(timeout=30)
    engine.submit(ticket(1))
    assert not engine.stop(timeout_seconds=0.0)
    lane.gate.set()
    assert engine.stop(timeout_seconds=30)
    first, second = inbox.outcomes(2)
    assert first == 0
    assert isinstance(second, Draining)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_lane_that_breaks_ends_the_engine_visibly():
    """A bug in a lane is kept as the engine's failure; who waits is answered, and nothing more is taken."""

    class Broken(GatedLane):
        def run(self, answers):
            raise ZeroDivisionError

    inbox = Inbox()
    engine = make_engine(Broken(), inbox)
    engine.submit(ticket(0))
    engine._thread.join(timeout=30)
    assert isinstance(engine.failure, ZeroDivisionError)
    assert isinstance(inbox.outcomes(1)[0], Draining)
    with pytest.raises(Draining):
        engine.submit(ticket(1))


def test_each_sink_is_flushed_once_per_turn():
    """All answers of a turn for one stream are added before it is flushed, so they leave in one message."""

    class Sink:
        def __init__(self):
            self.calls = []

        def add(self, tag, outcome):
            self.calls.append((tag, outcome))

        def flush(self):
            self.calls.append("flush")

    one, other = Sink(), Sink()
    answers = [
        (Ticket(operation=None, sink=sink, tag=tag, received_seconds=0.0), tag * 10)
        for sink, tag in ((one, 1), (other, 2), (one, 3))
    ]
    deliver_to_sinks(answers)
    assert one.calls == [(1, 10), (3, 30), "flush"]
    assert other.calls == [(2, 20), "flush"]


def test_the_answers_of_one_lane_do_not_wait_for_the_work_of_the_next():
    """What the first lane finished is delivered before the second lane runs its slice."""

    @dataclass(frozen=True)
    class Document(Question):
        """Work of the second lane."""

    first, second, inbox = GatedLane(), GatedLane(is_open=False), Inbox()
    engine = Engine(
        lanes={Question: first, Document: second}, observer=SilentObserver(), deliver=inbox.deliver
    )
    engine.submit_all([ticket(1), Ticket(operation=Document(2), sink=None, tag=2, received_seconds=0.0)])
    engine.start()
    assert second.running.wait(timeout=30)
    assert inbox.outcomes(1) == [1]
    second.gate.set()
    assert inbox.outcomes(2) == [1, 2]
    assert engine.stop(30)
