"""What a write asks back, checked against the model that its session runs on."""

from __future__ import annotations

from gatehouse_server.engine.job import Wants
from gatehouse_server.engine.value import value
from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.operations import OutputRequest

_FLOAT_BYTES = 4
_BEST_ENTRY_BYTES = 32  # id, log-probability and a word
_MOST_REMEMBERED = 1024


@value
class Answering:
    """How a model answers an output request: what its jobs want, and about how large the answer is for one step.

    `look_bytes` is what the activations of a step take, 0 when they are not asked for.
    """

    wants: Wants
    step_bytes: int
    look_bytes: int


def answering(model: HostedModel, outputs: OutputRequest) -> Answering:
    """How the model answers; looked up, since nearly all writes ask for the same.

    Raises InvalidInput when the model has no such outputs.
    """
    known = model.answering.get(outputs)
    if known is None:
        _check(model, outputs)
        if len(model.answering) == _MOST_REMEMBERED:
            model.answering.clear()
        known = model.answering[outputs] = Answering(
            Wants(
                k=outputs.k or 0,
                every_step=outputs.every_step,
                scores=outputs.scores,
                vector=outputs.vector,
                hidden=outputs.hidden,
            ),
            _FLOAT_BYTES * (model.output_size * outputs.vector + model.hidden_size * outputs.hidden)
            + _BEST_ENTRY_BYTES * (outputs.k or 0),
            model.looker.step_bytes if outputs.activations else 0,
        )
    return known


def check_output_size(model: HostedModel, answered: Answering, steps: int) -> None:
    """Raises InvalidInput when the outputs would not fit into an answer."""
    size = answered.step_bytes * steps if steps > 1 and answered.wants.every_step else answered.step_bytes
    size += answered.look_bytes * steps
    limit = model.limits.max_output_bytes
    if size > limit:
        advice = "Ask for fewer steps at a time, or for `k` instead of `vector`"
        if answered.look_bytes:
            most = limit // answered.look_bytes
            advice = f"Activations take {answered.look_bytes} for each step: write at most {most} at a time"
        raise InvalidInput.of_field(
            "outputs",
            f"the answer would take about {size} bytes, and at most {limit} are allowed. {advice}",
            reason="OUTPUTS_TOO_LARGE",
        )


def _check(model: HostedModel, outputs: OutputRequest) -> None:
    wanted = outputs.k is not None or outputs.scores or outputs.vector
    if wanted and not model.output_size:
        raise InvalidInput.of_field(
            "outputs",
            f"{model.key} is an encoder without an output layer; ask for `hidden`",
            reason="WRONG_MODEL_KIND",
        )
    if outputs.k is not None and not model.ranks:
        raise InvalidInput.of_field(
            "outputs.k", f"{model.key} is a regression; ask for `vector`", reason="WRONG_MODEL_KIND"
        )
    if outputs.k is not None and not 1 <= outputs.k <= model.output_size:
        raise InvalidInput.of_field(
            "outputs.k",
            f"{outputs.k} is not in 1..{model.output_size}, the outputs of {model.key}",
            reason="K_OUT_OF_RANGE",
        )
    if outputs.scores and not model.scores_tokens:
        raise InvalidInput.of_field(
            "outputs.scores", f"{model.key} does not predict its own input", reason="WRONG_MODEL_KIND"
        )
