"""Looking inside of a running sequence: the top layer's output and the activations, beside everybody else's writes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gatehouse_server.engine.looking import LayerActivations, Looker, run_through
from gatehouse_server.errors import Draining, InvalidInput
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.limits import SessionLimits

from tests.sessions.desk import Desk, make_write
from tests.tiny import write_tiny_encoder, write_tiny_features, write_tiny_keyboard, write_tiny_melody

TOKENS = [14, 20, 31, 9, 14, 44, 50, 3, 27, 14, 14]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A keyboard, a player of notes, an encoder of notes and a model of features."""
    directory = tmp_path_factory.mktemp("models")
    write_tiny_keyboard(directory / "keyboard" / "1")
    write_tiny_melody(directory / "melody" / "1")
    write_tiny_encoder(directory / "encoder" / "1")
    write_tiny_features(directory / "motion" / "1")
    registry = Registry.load([directory], embedded=None)
    assert not registry.failed
    return registry


@pytest.fixture
def desk(registry: Registry) -> Desk:
    """A desk with its own sessions."""
    return Desk(registry)


def expected(registry: Registry, name: str, inputs: np.ndarray) -> tuple[LayerActivations, ...]:
    """What goes on inside of a model that reads a whole tape alone, its start token not told."""
    model = registry.get(name)
    if model.start_id is None:
        return run_through(Looker(model.network).look(inputs))
    state = model.network.initial_state(1)
    model.network.scan(torch.tensor([model.start_id]), (1,), state)
    return run_through(Looker(model.network).look(inputs, torch.cat(state, dim=1)[0].numpy()))


def assert_same(told: tuple[LayerActivations, ...], wanted: tuple[LayerActivations, ...], begin: int) -> None:
    """The steps of `wanted` from `begin` on, as many as were told, to the bit."""
    assert [(layer.layer, layer.reverse) for layer in told] == [
        (layer.layer, layer.reverse) for layer in wanted
    ]
    for one, other in zip(told, wanted, strict=True):
        assert list(one.values) == list(other.values)
        for name, values in one.values.items():
            np.testing.assert_array_equal(
                values, other.values[name][begin : begin + len(values)], err_msg=name
            )


@pytest.mark.parametrize("name", ["keyboard", "melody", "encoder"])
@pytest.mark.parametrize("pieces", [[11], [1] * 11, [4, 6, 1]], ids=["whole", "single steps", "uneven"])
def test_activations_do_not_tell_how_the_steps_came(registry, desk, name, pieces):
    """Each step's gates and states are those of the model reading the tape alone, whatever writes it came in."""
    tokens = [token % 24 for token in TOKENS]
    whole = expected(registry, name, np.array(tokens))
    session, begin = desk.create(name).session_id, 0
    for steps in pieces:
        result = desk.write(session, tokens[begin : begin + steps], activations=True)
        assert_same(result.activations, whole, begin)
        assert result.token_ids is not None
        assert result.token_ids.tolist() == tokens[begin : begin + steps]
        begin += steps


def test_activations_after_a_rewind_are_those_of_the_new_tape(registry, desk):
    """Steps that replace others are told as if the others had never been."""
    session = desk.create().session_id
    desk.write(session, TOKENS, activations=True)
    result = desk.write(session, [7, 8], at=4, activations=True)
    assert_same(result.activations, expected(registry, "keyboard", np.array([*TOKENS[:4], 7, 8])), 4)


def test_features_are_looked_at_like_tokens(registry, desk):
    """A model of feature vectors tells its gates too; there are no tokens to name."""
    features = np.random.default_rng(1).standard_normal((5, 3), dtype=np.float32)
    result = desk.write(desk.create("motion").session_id, features, activations=True)
    assert_same(result.activations, expected(registry, "motion", features), 0)
    assert (result.token_ids, result.token_texts) == (None, ())


def test_tokens_are_named(desk):
    """Beside its activations a write tells the texts of the tokens that a text was cut into."""
    result = desk.write(desk.create().session_id, "How are qqq ?", activations=True)
    assert result.token_texts == ("how", "are", "<unk>", "?")


def test_what_else_is_asked_is_answered_as_ever(desk):
    """A look changes neither the best next tokens, nor the scores, nor the state."""
    plain, looked = desk.create().session_id, desk.create().session_id
    one = desk.write(plain, TOKENS, k=3, scores=True)
    other = desk.write(looked, TOKENS, k=3, scores=True, activations=True, hidden=True)
    assert one.steps[0].best_ids.tolist() == other.steps[0].best_ids.tolist()
    assert one.scores.tolist() == other.scores.tolist()
    assert desk.write(plain, [5], vector=True).steps[0].vector.tolist() == (
        desk.write(looked, [5], vector=True).steps[0].vector.tolist()
    )


def test_a_repeated_write_is_looked_at_again(desk):
    """A write that comes again gets the same hidden vectors and activations, computed anew, and moves nothing."""
    view = desk.create()
    life = {"incarnation": view.state.incarnation}
    write = make_write(
        view.session_id, TOKENS, revision=1, at=0, hidden=True, every_step=True, activations=True, **life
    )
    first = desk.one(write)
    desk.one(make_write(view.session_id, [3], revision=2, at=5, **life))
    again = desk.one(write)
    assert again.repeated
    assert_same(again.activations, first.activations, 0)
    assert again.token_texts == first.token_texts
    assert [step.hidden.tolist() for step in again.steps] == [step.hidden.tolist() for step in first.steps]
    assert desk.get(view.session_id).state.position == 6


@pytest.mark.parametrize("name", ["melody", "encoder"])
@pytest.mark.parametrize("more", [{}, {"activations": True}])
@pytest.mark.parametrize("records_ticks", [False, True], ids=["as written", "recorded"])
def test_hidden_is_what_the_top_layer_hands_on(registry, name, more, records_ticks):
    """At the last step, at every step and at a step that a write only moves to, of models with an output layer and
    without one.
    """
    desk = Desk(registry, records_ticks=records_ticks)
    tokens = np.array([token % 24 for token in TOKENS])
    top = expected(registry, name, tokens)[-1].values["hidden"]
    session = desk.create(name).session_id
    every = desk.write(session, tokens, hidden=True, every_step=True, **more)
    assert [step.position for step in every.steps] == list(range(1, 12))
    np.testing.assert_array_equal([step.hidden for step in every.steps], top)
    (moved,) = desk.write(session, at=4, hidden=True).steps
    assert (moved.position, moved.hidden.tolist()) == (4, top[3].tolist())
    (last,) = desk.write(session, tokens[4:9], hidden=True, **more).steps
    assert (last.position, last.hidden.tolist()) == (9, top[8].tolist())
    (single,) = desk.write(session, tokens[9:10], hidden=True, **more).steps
    assert (single.position, single.hidden.tolist()) == (10, top[9].tolist())


@pytest.mark.parametrize("at_ends_alone", [False, True])
def test_hidden_comes_beside_other_outputs_and_other_sessions(registry, desk, at_ends_alone):
    """In one tick, jobs that want the hidden vector, the best entries, both at each step, scores or nothing each get
    their own.
    """
    wanted = [
        {"hidden": True},
        {"k": 2},
        {"hidden": True, "k": 3, "every_step": True, "scores": True, "vector": True},
        {},
        {"hidden": True, "scores": True},
        {"hidden": True, "every_step": True},
    ]
    if at_ends_alone:
        wanted = [{"hidden": True}, {"k": 2}, {"hidden": True, "k": 3, "vector": True}, {}, {"hidden": True}]
    tapes = [np.array([(token + shift) % 24 for token in TOKENS]) for shift in range(len(wanted))]
    tops = [expected(registry, "melody", tape)[-1].values["hidden"] for tape in tapes]
    sessions = [desk.create("melody").session_id for _ in wanted]
    for steps in (slice(0, 6), slice(6, 7), slice(7, 11)):
        results = desk.ask(
            *(
                make_write(session, tape[steps], **each)
                for session, tape, each in zip(sessions, tapes, wanted, strict=True)
            )
        )
        for top, each, result in zip(tops, wanted, results, strict=True):
            if not each.get("hidden"):
                assert all(step.hidden is None for step in result.steps)
                continue
            told = top[steps] if each.get("every_step") else top[steps][-1:]
            np.testing.assert_array_equal([step.hidden for step in result.steps], told)
            assert all((step.best_ids is not None) == ("k" in each) for step in result.steps)
            assert all((step.vector is not None) == ("vector" in each) for step in result.steps)
            assert (result.scores is not None) == ("scores" in each)


def test_an_encoder_has_no_other_outputs(desk):
    """Asked for the best entries it says what to ask for instead."""
    session = desk.create("encoder").session_id
    for wanted in ({"k": 1}, {"vector": True}, {"scores": True}):
        with pytest.raises(InvalidInput, match="ask for `hidden`"):
            desk.write(session, [3], **wanted)


@pytest.mark.parametrize(
    "wanted", [{"activations": True}, {"hidden": True, "every_step": True}], ids=["activations", "hidden"]
)
def test_an_answer_that_would_be_too_large_is_refused(registry, wanted):
    """Before anything is computed, with the size and the limit; fewer steps are answered."""
    desk = Desk(registry, limits=SessionLimits(max_sessions=4, max_output_bytes=2000))
    session = desk.create("melody").session_id
    with pytest.raises(InvalidInput, match="at most 2000 are allowed") as caught:
        desk.write(session, [3] * 40, **wanted)
    assert caught.value.reason == "OUTPUTS_TOO_LARGE"
    assert desk.get(session).state.position == 0
    desk.write(session, [3] * 3, **wanted)


def test_other_sessions_do_not_wait_for_a_look(desk):
    """While one write is looked at, others are answered turn by turn; two that are looked at take turns."""
    looking = [desk.create().session_id, desk.create().session_id]
    other = desk.create().session_id
    slow = desk.send(*(make_write(session, [14] * 200, activations=True) for session in looking))
    for _ in range(30):
        desk.tick()
    for _ in range(5):
        assert desk.lane.unfinished
        (ticket,) = desk.send(make_write(other, [14], k=1))
        desk.tick()
        assert ticket in [answered for answered, _ in desk.answers]
    first, second = desk.settle(slow)
    assert_same(first.activations, second.activations, 0)


def test_a_write_that_is_given_up_while_it_is_looked_at_changed_nothing(desk):
    """A server that has to stop answers Draining, and the tape is as it was."""
    session = desk.create().session_id
    (ticket,) = desk.send(make_write(session, [14] * 100, activations=True))
    for _ in range(10):
        desk.tick()
    live = desk.lane._residents.live(session)
    desk.lane.abandon(desk.answers)
    assert [type(outcome) for answered, outcome in desk.answers if answered is ticket] == [Draining]
    assert live is not None
    assert (live.position, live.revision) == (0, 0)


def test_the_digest_of_a_write_tells_what_it_asks_inside(desk):
    """The same steps under the same revision with another look are another write."""
    view = desk.create()
    life = {"incarnation": view.state.incarnation, "revision": 1, "at": 0}
    desk.one(make_write(view.session_id, [14], **life))
    for wanted in ({"activations": True}, {"hidden": True}):
        with pytest.raises(Exception, match="another write"):
            desk.one(make_write(view.session_id, [14], **life, **wanted))
