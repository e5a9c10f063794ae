"""Looking inside of the model while it takes a write's steps once more, slowly, beside everybody else's ticks."""

from __future__ import annotations

from gatehouse_server.engine.looking import LayerActivations
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.steps import Running, Wait
from gatehouse_server.sessions.tape import Inputs


def activations_of(model: HostedModel, row: int, inputs: Inputs) -> Running[tuple[LayerActivations, ...]]:
    """What goes on inside at each of these steps, from the state of a row, which is read at once; nothing moves."""
    if not len(inputs):
        return ()
    looking = model.looker.look(inputs, model.engine.read_states([row])[0])
    while True:
        try:
            next(looking)
        except StopIteration as done:
            activations: tuple[LayerActivations, ...] = done.value
            return activations
        yield Wait.FOR_A_TURN


def token_texts(model: HostedModel, inputs: Inputs) -> tuple[str, ...]:
    """The texts of tokens; none where the model has no vocabulary."""
    if model.text is None:
        return ()
    words = model.text.vocabulary.words
    return tuple([words[number] for number in inputs.tolist()])
