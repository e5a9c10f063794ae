"""The offline lane beside transducers: each model does what it can, and nothing else is asked of it."""

from __future__ import annotations

import numpy as np
import pytest
from gatehouse_server.engine.bucketing import OfflineBatching
from gatehouse_server.engine.documents import DocumentScores, DocumentTask, Wants
from gatehouse_server.engine.loop import Answers
from gatehouse_server.engine.observer import SilentObserver
from gatehouse_server.engine.offline import OfflineLane
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.engine.transduction import Transduction, TransductionWants
from gatehouse_server.errors import Draining, InvalidInput
from gatehouse_server.network.spec import RecurrentSpec

from .test_offline_backend import network_of
from .test_transducing import documents_of, pair, transduced

WANTS = TransductionWants(beam_size=3, alternatives=2, max_output_steps=8)


class Nobody:
    """Answers are read from the lane's list."""

    def add(self, tag: int, outcome: object) -> None:
        """Never called."""

    def flush(self) -> None:
        """Never called."""


def ticket(tag: int, model: str, inputs: np.ndarray, wants: Wants | None = None) -> Ticket:
    """A document of somebody who waits."""
    task = DocumentTask(model_key=model, inputs=inputs, **({} if wants is None else {"wants": wants}))
    return Ticket(operation=task, sink=Nobody(), tag=tag, received_seconds=0.0)


def lane() -> OfflineLane:
    """One that serves a classifier and a transducer."""
    classifier, _ = network_of(
        RecurrentSpec.uniform(cell="lstm", input_size=6, hidden_size=16, bidirectional=True)
    )
    return OfflineLane({"topics": classifier, "short": pair()[0]}, OfflineBatching(), SilentObserver())


def answered(served: OfflineLane, tickets: list[Ticket]) -> dict[int, object]:
    """What becomes of these."""
    answers: Answers = []
    served.accept(tickets, answers)
    while served.has_work():
        served.run(answers)
    return {each.tag: outcome for each, outcome in answers}


def test_transducers_and_others_are_computed_side_by_side() -> None:
    """Each with its own kind of answer; and what is wanted decides what is computed together, not what comes out."""
    documents = documents_of([9, 7, 5, 3])
    asked = [ticket(number, "short", each, WANTS) for number, each in enumerate(documents)]
    asked += [ticket(10 + number, "topics", each) for number, each in enumerate(documents)]
    asked += [
        ticket(20 + number, "short", each, TransductionWants()) for number, each in enumerate(documents)
    ]
    outcomes = answered(lane(), asked)
    expected = transduced(pair()[0], documents, WANTS)
    for number in range(4):
        written, scored = outcomes[number], outcomes[10 + number]
        assert isinstance(written, Transduction)
        assert isinstance(scored, DocumentScores)
        assert written.hypotheses == expected[number]
        assert written.step_count == len(documents[number])
        greedy = outcomes[20 + number]
        assert isinstance(greedy, Transduction)
        assert len(greedy.hypotheses) == 1


@pytest.mark.parametrize(
    ("model", "wants", "told"),
    [("short", None, "is a transducer"), ("topics", WANTS, "is no transducer")],
)
def test_what_a_model_cannot_do_is_refused_at_once(model: str, wants: Wants | None, told: str) -> None:
    """Before it waits for a batch, in which it would disturb others."""
    answers: Answers = []
    served = lane()
    served.accept([ticket(1, model, documents_of([3])[0], wants)], answers)
    ((_, refused),) = answers
    assert isinstance(refused, InvalidInput)
    assert refused.reason == "WRONG_MODEL_KIND"
    assert told in str(refused)
    assert not served.has_work()


def test_a_search_that_is_abandoned_is_told_to_its_caller() -> None:
    """A server that stops does so in the middle of writing, too: slices are short enough for that."""
    answers: Answers = []
    served = OfflineLane(
        {"short": pair()[0]}, OfflineBatching(), SilentObserver(), slice_seconds=lambda: 1e-9
    )
    served.accept([ticket(1, "short", documents_of([3])[0], WANTS)], answers)
    slices = 0
    while not answers:  # how many there are
        served.run(answers)
        slices += 1
    assert slices > WANTS.max_output_steps
    answers.clear()
    served.accept([ticket(2, "short", documents_of([3])[0], WANTS)], answers)
    for _ in range(slices - 2):
        served.run(answers)
    assert not answers
    served.abandon(answers)
    ((_, outcome),) = answers
    assert isinstance(outcome, Draining)
    assert not served.has_work()


def test_a_document_that_is_not_finite_is_refused_alone() -> None:
    """The others of its batch are answered."""
    transducer, _ = pair(features=True, poolings=("mean",))
    served = OfflineLane({"short": transducer}, OfflineBatching(), SilentObserver())
    good = documents_of([3], features=True)[0]
    outcomes = answered(
        served,
        [ticket(1, "short", good, WANTS), ticket(2, "short", np.full((3, 6), np.nan, np.float32), WANTS)],
    )
    assert isinstance(outcomes[1], Transduction)
    assert isinstance(outcomes[2], InvalidInput)
    assert outcomes[2].reason == "STATE_NOT_FINITE"
