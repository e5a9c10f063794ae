"""Whether a model can continue a sequence in the way that is asked for."""

from __future__ import annotations

from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.inputs import check_tape_length
from gatehouse_server.sessions.operations import OpenSequences


def check_continues(model: HostedModel, operation: OpenSequences) -> None:
    """Raises InvalidInput unless the model can continue sequences, and in the way that is asked for."""
    if not model.scores_tokens and not model.forecasts:
        raise InvalidInput.of_field(
            "model" if operation.session_id is None else "session_id",
            f"{model.key} does not predict its own input; Generate needs a language model, or a regression with as "
            "many outputs as inputs",
            reason="WRONG_MODEL_KIND",
        )
    if operation.stop_ids and not model.scores_tokens:
        raise InvalidInput.of_field(
            "stop_ids", f"{model.key} has no tokens to stop at", reason="WRONG_MODEL_KIND"
        )
    for place, number in enumerate(operation.stop_ids):
        if not 0 <= number < model.width:
            raise InvalidInput.of_field(
                f"stop_ids[{place}]",
                f"expected an id from 0 to {model.width - 1}, got {number}",
                reason="TOKEN_OUT_OF_RANGE",
            )
    if operation.initial is not None and model.initial is None:
        raise InvalidInput.of_field(
            "initial", f"{model.key} has no input for its first state", reason="WRONG_MODEL_KIND"
        )


def check_reaches(model: HostedModel, operation: OpenSequences, position: int, prompt_steps: int) -> None:
    """Raises InvalidInput when there is nothing to go on from, or more than one write could take, TapeFull when the
    session could not take it.
    """
    if position + prompt_steps == 0 and operation.initial is None and not model.begins_alone:
        raise InvalidInput.of_field(
            "prompt",
            f"expected at least one step to go on from: {model.key} has no start token",
            reason="EMPTY_INPUT",
        )
    if not operation.advance:
        return
    most = model.limits.max_write_steps
    if prompt_steps + operation.max_steps > most:
        raise InvalidInput.of_field(
            "max_steps",
            f"expected at most {most - prompt_steps}: with `advance` prompt and continuation are one write, which has "
            f"at most {most} steps, got {operation.max_steps}",
            reason="INPUT_TOO_LONG",
        )
    check_tape_length(model, position + prompt_steps + operation.max_steps)
