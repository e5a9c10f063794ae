"""Checking the steps of a write against the model that its session runs on."""

from __future__ import annotations

import numpy as np

from gatehouse_server.errors import FieldViolation, InvalidInput, TapeFull
from gatehouse_server.models.features import check_features
from gatehouse_server.models.token_ids import check_token_ids
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.operations import Write
from gatehouse_server.sessions.tape import Inputs


def checked_inputs(model: HostedModel, write: Write) -> Inputs:
    """The write's steps as the model takes them; none for a write that only moves. Raises InvalidInput."""
    given = write.inputs
    if given is None:
        if write.at is None:
            raise InvalidInput.of_field(
                "inputs",
                "nothing to write: give tokens, text or features, or `at` to move",
                reason="EMPTY_INPUT",
            )
        return model.no_steps()
    return checked_steps(model, given)


def checked_steps(model: HostedModel, given: Inputs | str) -> Inputs:
    """Steps as the model takes them, at least one and at most as many as a write may have. Raises InvalidInput."""
    inputs = _encoded(model, given) if isinstance(given, str) else _as_taken(model, given)
    if len(inputs) > model.limits.max_write_steps:
        raise InvalidInput.of_field(
            "text" if isinstance(given, str) else "tokens.ids" if model.keeps_tokens else "features.values",
            f"{len(inputs)} steps in one write, and at most {model.limits.max_write_steps} are allowed. "
            "Send several writes",
            reason="INPUT_TOO_LONG",
        )
    return inputs


def check_tape_length(model: HostedModel, steps_after: int) -> None:
    """Raises TapeFull when the tape would become too long."""
    limit = model.limits.max_tape_steps
    if steps_after > limit:
        raise TapeFull(
            f"the tape would hold {steps_after} steps, and at most {limit} are allowed. Start over with at = 0",
            metadata={"max_tape_steps": str(limit)},
        )


def _encoded(model: HostedModel, text: str) -> Inputs:
    if model.text is None:
        raise InvalidInput.of_field(
            "text", f"{model.key} takes {model.takes}, not text", reason="WRONG_INPUT_KIND"
        )
    ids = model.text.encode(text)
    if not ids:
        raise InvalidInput.of_field("text", "there is no token in it", reason="EMPTY_INPUT")
    return np.array(ids, dtype=np.int64)


def _as_taken(model: HostedModel, given: Inputs) -> Inputs:
    if model.keeps_tokens != (given.dtype == np.int64):
        raise InvalidInput(
            f"{model.key} takes {model.takes}",
            reason="WRONG_INPUT_KIND",
            violations=(FieldViolation(field="inputs", description=f"expected {model.takes}"),),
        )
    if not model.keeps_tokens:
        return check_features(given, expected_width=model.width)
    check_token_ids(given.tolist(), vocabulary_size=model.width)
    return given
