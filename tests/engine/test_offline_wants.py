"""Documents that want different things in the offline lane: never in one batch, and none of them waits for ever."""

from gatehouse_server.engine.documents import DocumentWants
from gatehouse_server.errors import InvalidInput

from tests.engine.test_offline import Desk, network_of

STEPS = DocumentWants(every_step=True, best=1, outputs=False)
HIDDEN = DocumentWants(hidden=True, outputs=False)


def test_documents_that_want_different_things_are_computed_apart() -> None:
    """One batch for each kind, in the order of the oldest document of each."""
    desk = Desk()
    for number, wants in enumerate((STEPS, HIDDEN, STEPS, HIDDEN, DocumentWants(), STEPS)):
        desk.accept(number, 2, wants=wants)
    desk.finish()
    assert [sorted(batch) for batch in desk.backend.batches] == [[0, 2, 5], [1, 3], [4]]
    assert desk.backend.wants == [STEPS, HIDDEN, DocumentWants()]
    assert len(desk.answers) == 6


def test_kinds_of_which_nothing_waits_are_forgotten() -> None:
    """What is wanted may be different each time; the lane remembers none of it when its documents are gone."""
    desk = Desk()
    for k in range(1, 200):
        desk.accept(k, wants=DocumentWants(every_step=True, best=k))
        desk.finish()
    assert len(desk.lane._waiting) <= 1


def test_a_network_without_output_layer_answers_what_needs_none() -> None:
    """Vectors come from any network, scores only from one that has an output layer."""
    desk = Desk()
    desk.networks["encoder@1"] = network_of()
    desk.accept(1, model="encoder@1", wants=HIDDEN)
    desk.accept(2, model="encoder@1", wants=DocumentWants(hidden=True))
    desk.finish()
    assert desk.backend.batches == [[1]]
    refusal = desk.outcome(2)
    assert isinstance(refusal, InvalidInput)
    assert refusal.reason == "WRONG_MODEL_KIND"
