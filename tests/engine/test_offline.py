"""The offline lane on a backend of the tests' own: slices, order, failures and answers."""

import queue
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import structlog.testing
from gatehouse_server.engine.bucketing import OfflineBatching
from gatehouse_server.engine.correlation import logged_under
from gatehouse_server.engine.documents import SCORES, DocumentScores, DocumentTask, DocumentWants, Floats
from gatehouse_server.engine.loop import Answers, Engine
from gatehouse_server.engine.observer import Happening, OfflineBatch, SilentObserver
from gatehouse_server.engine.offline import OfflineLane
from gatehouse_server.engine.offline_backend import BatchScores, DocumentInputs
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import Cancelled, DeadlineExpired, Draining, InvalidInput, ModelNotFound
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import FeatureInputSpec, HeadSpec, NetworkSpec, RecurrentSpec

from ..network.oracle import random_parameters

POISON, OVERFLOW = 666, 777
PIECE_SECONDS = 0.002


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now_seconds = 100.0

    def __call__(self) -> float:
        return self.now_seconds


@dataclass
class Backend:
    """Scores a document by its first number, in two pieces per step, each of PIECE_SECONDS."""

    clock: Clock
    batches: list[list[int]] = field(default_factory=list)
    wants: list[DocumentWants] = field(default_factory=list)
    closed: int = 0

    def score(
        self, documents: Sequence[DocumentInputs], wants: DocumentWants
    ) -> Generator[None, None, BatchScores]:
        """Fails for POISON; answers infinity for OVERFLOW."""
        self.batches.append([int(document[0]) for document in documents])
        self.wants.append(wants)
        try:
            for _ in range(2 * len(documents[0])):
                self.clock.now_seconds += PIECE_SECONDS
                if any(document[0] == POISON for document in documents):
                    raise RuntimeError("the device does not like 666")
                yield
        except GeneratorExit:
            self.closed += 1
            raise
        scores = np.array([[document[0], -document[0]] for document in documents], dtype=np.float32)
        scores[scores == OVERFLOW] = np.inf
        return BatchScores(scores=scores, computed_steps=len(documents) * len(documents[0]))


class Ledger(SilentObserver):
    """Keeps what the lane tells."""

    def __init__(self) -> None:
        self.happenings: list[tuple[Happening, int]] = []
        self.batches: list[OfflineBatch] = []

    def happened(self, what: Happening, amount: int = 1) -> None:
        """Noted."""
        self.happenings.append((what, amount))

    def offline_batch(self, batch: OfflineBatch) -> None:
        """Noted."""
        self.batches.append(batch)


class NoSink:
    """The lane never touches a sink itself."""

    def add(self, tag: int, outcome: object) -> None:
        """Not called."""
        raise AssertionError

    def flush(self) -> None:
        """Not called."""
        raise AssertionError


def network_of(*, head: HeadSpec | None = None) -> Network:
    """The smallest network there is."""
    spec = NetworkSpec(
        input=FeatureInputSpec(size=1),
        recurrent=RecurrentSpec.uniform(cell="rnn_tanh", input_size=1, hidden_size=1),
        head=head,
    )
    return Network.build(spec, random_parameters(spec))


class Desk:
    """A lane with everything around it."""

    def __init__(
        self, *models: str, batching: OfflineBatching | None = None, slice_seconds: float = 0.005
    ) -> None:
        network = network_of(head=HeadSpec(kind="linear", size=1))
        self.networks = dict.fromkeys(models or ("m@1",), network)
        self.clock = Clock()
        self.backend = Backend(self.clock)
        self.ledger = Ledger()
        self.answers: Answers = []
        self.lane = OfflineLane(
            self.networks,
            batching or OfflineBatching(),
            self.ledger,
            self.clock,
            backend_of=lambda network: self.backend,
            slice_seconds=lambda: slice_seconds,
        )

    def accept(
        self,
        number: int,
        steps: int = 1,
        *,
        model: str = "m@1",
        deadline_seconds: float | None = None,
        wanted: Callable[[], bool] = lambda: True,
        wants: DocumentWants = SCORES,
    ) -> None:
        """Hands in a document of which each step is `number`; its tag is `number` too."""
        task = DocumentTask(model_key=model, inputs=np.full(steps, number, dtype=np.int64), wants=wants)
        ticket = Ticket(
            operation=task,
            sink=NoSink(),
            tag=number,
            received_seconds=self.clock(),
            deadline_seconds=deadline_seconds,
            wanted=wanted,
        )
        self.lane.accept([ticket], self.answers)

    def finish(self) -> None:
        """Runs slices until nothing is left to do."""
        while self.lane.has_work():
            self.lane.run(self.answers)

    def outcome(self, number: int) -> object:
        """The one answer that a document got."""
        (outcome,) = [outcome for ticket, outcome in self.answers if ticket.tag == number]
        return outcome

    def scores(self, number: int) -> DocumentScores:
        """The same, when it must be scores."""
        outcome = self.outcome(number)
        assert isinstance(outcome, DocumentScores)
        return outcome

    def values(self, number: int) -> Floats:
        """Its scores alone."""
        scores = self.scores(number).scores
        assert scores is not None
        return scores


def test_each_document_gets_its_own_scores() -> None:
    """Whatever the order in the batch, the answer belongs to the ticket it was asked with."""
    desk = Desk()
    for number, steps in ((1, 3), (2, 9), (3, 1), (4, 9)):
        desk.accept(number, steps)
    assert desk.lane.unfinished_documents == 4
    desk.finish()
    for number, steps in ((1, 3), (2, 9), (3, 1), (4, 9)):
        assert desk.values(number).tolist() == [number, -number]
        assert desk.scores(number).step_count == steps
    assert len(desk.backend.batches) == 1
    assert desk.lane.unfinished_documents == 0


def test_a_slice_ends_when_its_time_is_over() -> None:
    """One run computes pieces until slice_seconds have passed, and the next run goes on where it stopped."""
    desk = Desk(slice_seconds=0.005)
    desk.accept(1, steps=6)
    lengths = []
    while desk.lane.has_work():
        began = desk.clock()
        desk.lane.run(desk.answers)
        lengths.append(round((desk.clock() - began) / PIECE_SECONDS))
    assert lengths == [3, 3, 3, 3, 0]
    assert desk.values(1).tolist() == [1, -1]
    assert desk.backend.batches == [[1]]


def test_one_run_finishes_at_most_one_batch() -> None:
    """Answers are on their way before the next batch begins, however short the batch was."""
    desk = Desk(batching=OfflineBatching(max_batch_documents=1), slice_seconds=60.0)
    desk.accept(1)
    desk.accept(2)
    desk.lane.run(desk.answers)
    assert [ticket.tag for ticket, _ in desk.answers] == [1]
    assert desk.lane.has_work()


def test_compute_time_leaves_out_what_happens_between_slices() -> None:
    """Queue time ends when the batch begins; time that others use between slices is neither."""
    desk = Desk(slice_seconds=0.001)
    desk.accept(1, steps=2)
    desk.clock.now_seconds += 7.0
    while desk.lane.has_work():
        desk.lane.run(desk.answers)
        desk.clock.now_seconds += 1.0
    assert desk.scores(1).queue_seconds == pytest.approx(7.0)
    assert desk.scores(1).compute_seconds == pytest.approx(4 * PIECE_SECONDS)
    (batch,) = desk.ledger.batches
    assert batch.compute_seconds == pytest.approx(4 * PIECE_SECONDS)
    assert batch.queue_seconds == pytest.approx([7.0])


def test_a_batch_is_told_to_the_observer() -> None:
    """Documents, useful and computed steps by the backend's own count, of the right model."""
    desk = Desk("a@1", "b@2")
    desk.accept(1, steps=5, model="b@2")
    desk.accept(2, steps=2, model="b@2")
    desk.finish()
    (batch,) = desk.ledger.batches
    assert (batch.model, batch.documents, batch.steps, batch.computed_steps) == ("b@2", 2, 7, 10)


def test_documents_past_their_deadline_are_dropped_before_they_cost_anything() -> None:
    """They are answered with DeadlineExpired and counted; those in time are computed."""
    desk = Desk()
    desk.accept(1, deadline_seconds=desk.clock() + 1.0)
    desk.accept(2, deadline_seconds=desk.clock() + 3.0)
    desk.accept(3)
    desk.clock.now_seconds += 2.0
    desk.finish()
    assert isinstance(desk.outcome(1), DeadlineExpired)
    assert desk.backend.batches == [[3, 2]]
    assert desk.ledger.happenings == [(Happening.DROPPED_DEADLINE, 1)]


def test_deadlines_pass_while_another_batch_runs() -> None:
    """A waiting document whose deadline passes is answered at the next slice, not when its turn comes."""
    desk = Desk(batching=OfflineBatching(max_batch_documents=1), slice_seconds=0.001)
    desk.accept(1, steps=50)
    desk.accept(2, deadline_seconds=desk.clock() + 0.001)
    desk.lane.run(desk.answers)
    desk.lane.run(desk.answers)
    assert isinstance(desk.outcome(2), DeadlineExpired)
    assert desk.backend.batches == [[1]]


def test_one_bad_document_fails_alone() -> None:
    """The others of its batch are computed all the same, and so is what comes later."""
    desk = Desk()
    for number in (1, POISON, 3):
        desk.accept(number)
    desk.finish()
    failure = desk.outcome(POISON)
    assert isinstance(failure, RuntimeError)
    assert "does not like" in str(failure)
    assert desk.values(1).tolist() == [1, -1]
    assert desk.values(3).tolist() == [3, -3]
    desk.accept(4)
    desk.finish()
    assert desk.values(4).tolist() == [4, -4]
    assert not desk.lane.has_work()


def test_documents_that_fail_are_one_line_of_the_log() -> None:
    """The batch that failed, each of its documents that fails again, and those to come; they are told its id."""
    desk = Desk()
    with structlog.testing.capture_logs() as logs:
        for number in (POISON, 2):
            desk.accept(number)
        desk.finish()
        failure = desk.outcome(POISON)
        desk.answers.clear()
        desk.accept(POISON)
        desk.finish()
        again = desk.outcome(POISON)
    (line,) = logs
    assert (line["event"], line["work"], line["model"]) == ("computing fails", "documents", "m@1")
    assert line["operations"] == 2
    assert isinstance(failure, RuntimeError)
    assert isinstance(again, RuntimeError)
    assert logged_under(failure) == logged_under(again) == line["correlation_id"]


def test_a_model_that_was_let_go_leaves_no_line() -> None:
    """Documents that waited for it are no defect; what was counted of a model goes with it."""
    desk = Desk("a@1")
    with structlog.testing.capture_logs() as logs:
        for number in (1, 2):
            desk.accept(number, model="a@1")
        del desk.networks["a@1"]
        desk.finish()
    assert logs == []


def test_a_second_try_is_dropped_past_its_deadline() -> None:
    """A document that waits for its second try is still dropped when its deadline passes."""
    desk = Desk(slice_seconds=0.001)
    desk.accept(POISON, steps=5)
    desk.accept(2, steps=5)
    desk.accept(3, steps=5, deadline_seconds=desk.clock() + 0.001)
    desk.lane.run(desk.answers)
    assert desk.lane.unfinished_documents == 3
    desk.finish()
    assert isinstance(desk.outcome(POISON), RuntimeError)
    assert desk.values(2).tolist() == [2, -2]
    assert isinstance(desk.outcome(3), DeadlineExpired)


def test_scores_that_are_not_finite_fail_that_document_alone() -> None:
    """Its neighbours in the batch keep their scores."""
    desk = Desk()
    desk.accept(OVERFLOW)
    desk.accept(2)
    desk.finish()
    failure = desk.outcome(OVERFLOW)
    assert isinstance(failure, InvalidInput)
    assert failure.reason == "STATE_NOT_FINITE"
    assert desk.values(2).tolist() == [2, -2]


def test_the_model_whose_document_waited_longest_is_next() -> None:
    """A busy model does not keep another one from its turn, and batches never mix models."""
    desk = Desk("a@1", "b@1", batching=OfflineBatching(max_batch_documents=2))
    for number, model in ((1, "a@1"), (2, "a@1"), (3, "b@1"), (4, "a@1"), (5, "a@1")):
        desk.accept(number, model=model)
    desk.finish()
    assert [sorted(batch) for batch in desk.backend.batches] == [[1, 2], [3], [4, 5]]


def test_a_model_that_is_not_served_is_told_at_once() -> None:
    """The document is answered when it is accepted and leaves no work behind."""
    desk = Desk()
    desk.accept(1, model="nobody@1")
    assert isinstance(desk.outcome(1), ModelNotFound)
    assert not desk.lane.has_work()


def test_a_model_that_goes_away_fails_its_documents_only() -> None:
    """Documents that wait for it are answered with ModelNotFound; the lane goes on with other models."""
    desk = Desk("a@1", "b@1")
    desk.accept(1, model="a@1")
    desk.accept(2, model="b@1")
    del desk.networks["a@1"]
    desk.finish()
    assert isinstance(desk.outcome(1), ModelNotFound)
    assert desk.values(2).tolist() == [2, -2]


def test_a_model_without_output_layer_gives_no_scores() -> None:
    """It is refused by name when the document is accepted."""
    desk = Desk()
    desk.networks["encoder@1"] = network_of()
    desk.accept(1, model="encoder@1")
    refusal = desk.outcome(1)
    assert isinstance(refusal, InvalidInput)
    assert refusal.reason == "WRONG_MODEL_KIND"


def test_abandoning_answers_everything_with_draining() -> None:
    """Running, waiting and retried documents alike; the running batch is closed and nothing is left."""
    desk = Desk(batching=OfflineBatching(max_batch_documents=2), slice_seconds=0.001)
    desk.accept(POISON, steps=1)
    desk.accept(2, steps=2)
    desk.lane.run(desk.answers)
    desk.lane.run(desk.answers)
    assert desk.backend.batches == [[2, POISON], [2]]
    for number in (3, 4, 5):
        desk.accept(number)
    assert desk.lane.unfinished_documents == 5
    desk.lane.abandon(desk.answers)
    for number in (POISON, 2, 3, 4, 5):
        assert isinstance(desk.outcome(number), Draining)
    assert desk.backend.closed == 1
    assert not desk.lane.has_work()
    assert desk.ledger.happenings == [(Happening.DROPPED_DRAINING, 5)]


def test_the_lane_sleeps_without_documents() -> None:
    """It has no work, needs no waking, and a run or housekeeping does nothing."""
    desk = Desk()
    assert not desk.lane.has_work()
    assert desk.lane.wakes_in_seconds() is None
    desk.lane.run(desk.answers)
    desk.lane.housekeep(desk.answers)
    assert desk.answers == []
    assert desk.ledger.batches == []


def test_the_engine_serves_documents_from_another_thread() -> None:
    """Submitted documents come back through `deliver`, and nothing stays unanswered."""
    desk = Desk()
    answers: queue.Queue[Answers] = queue.Queue()
    engine = Engine(lanes={DocumentTask: desk.lane}, observer=desk.ledger, deliver=answers.put)
    engine.start()
    tickets = [
        Ticket(
            operation=DocumentTask(model_key="m@1", inputs=np.full(number, number, dtype=np.int64)),
            sink=NoSink(),
            tag=number,
            received_seconds=desk.clock(),
        )
        for number in (3, 1, 2)
    ]
    engine.submit_all(tickets)
    outcomes: dict[int, object] = {}
    while len(outcomes) < 3:
        outcomes |= {ticket.tag: outcome for ticket, outcome in answers.get(timeout=30)}
    assert engine.stop(timeout_seconds=30)
    assert engine.unanswered == 0
    for number, outcome in outcomes.items():
        assert isinstance(outcome, DocumentScores)
        assert outcome.scores is not None
        assert outcome.scores[0] == number


def test_documents_of_callers_that_left_are_not_computed() -> None:
    """Before a batch is formed, documents that nobody waits for are answered as such; the others are computed."""
    desk = Desk()
    desk.accept(1, wanted=lambda: False)
    desk.accept(2)
    desk.finish()
    outcomes = {ticket.tag: outcome for ticket, outcome in desk.answers}
    assert isinstance(outcomes[1], Cancelled)
    assert isinstance(outcomes[2], DocumentScores)
    assert desk.backend.batches == [[2]]


def test_a_batch_that_nobody_waits_for_any_more_is_ended_between_slices() -> None:
    """When all callers of a running batch have left, the rest of it is not computed."""
    here = {"caller"}
    desk = Desk()
    desk.accept(1, steps=1000, wanted=lambda: bool(here))
    desk.lane.run(desk.answers)
    assert desk.answers == []
    here.clear()
    desk.accept(2)
    desk.finish()
    assert [type(outcome) for _, outcome in desk.answers] == [Cancelled, DocumentScores]


def test_a_very_long_document_does_not_hold_up_short_ones() -> None:
    """Once a batch has taken long, the next one is computed beside it, in turn; both are answered rightly."""
    desk = Desk(slice_seconds=0.005)
    desk.accept(1, steps=2000)
    began = desk.clock()
    while desk.clock() - began < 0.5:
        desk.lane.run(desk.answers)
    for number in range(2, 6):
        desk.accept(number, steps=3)
    while len(desk.answers) < 4:
        assert desk.lane.has_work()
        desk.lane.run(desk.answers)
    assert [desk.values(number)[0] for number in range(2, 6)] == [2, 3, 4, 5]
    assert desk.lane.unfinished_documents == 1
    desk.finish()
    assert desk.values(1)[0] == 1


def test_two_batches_beside_each_other_never_share_a_backend() -> None:
    """Each has scratch memory of its own, and a third one waits."""
    desk = Desk(slice_seconds=0.005)
    made: list[Backend] = []

    def backend(network: object) -> Backend:
        made.append(Backend(desk.clock))
        return made[-1]

    desk.lane = OfflineLane(
        desk.networks,
        OfflineBatching(),
        desk.ledger,
        desk.clock,
        backend_of=backend,
        slice_seconds=lambda: 0.005,
    )
    for number in (1, 2, 3):
        desk.accept(number, steps=1000)
        for _ in range(100):
            desk.lane.run(desk.answers)
    assert [len(each.batches) for each in made] == [1, 1]
    desk.finish()
    assert [desk.values(number)[0] for number in (1, 2, 3)] == [1, 2, 3]
