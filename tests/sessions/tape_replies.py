"""Whether replies are those of the model of sessions and of the plain networks: every field that means something."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from gatehouse_server.sessions.results import SessionState, StepOutput, SuggestResult, WriteResult

from tests.sessions.plain_networks import PlainNetwork, Tape
from tests.sessions.tape_model import UNTOLD_SHARE, TapeModel
from tests.sessions.tape_records import Accepted, Asked
from tests.sessions.tape_session import TapeSession

TOLERANCE = 1e-5


class SeenBits:
    """Whole outputs by tape: the same tape has to give the same bits again, whatever led there."""

    def __init__(self) -> None:
        self._bits: dict[tuple[str, Tape], bytes] = {}

    def check(self, model: str, tape: Tape, vector: np.ndarray) -> None:
        """Asserts that this output was not a different one before."""
        before = self._bits.setdefault((model, tape), vector.tobytes())
        assert before == vector.tobytes(), (
            f"{model} answers other bits for the same tape of {len(tape)} steps"
        )


def check_write(
    network: PlainNetwork, model: str, asked: Asked, accepted: Accepted, result: WriteResult, seen: SeenBits
) -> None:
    """Asserts that a write's outputs are those of the network over the whole tape."""
    expected = network.outputs(accepted.tape)
    end = len(accepted.tape)
    assert end == accepted.at + len(asked.steps)
    wanted: list[int] = []
    if asked.k is not None or asked.vector:
        wanted = list(range(accepted.at + 1, end + 1)) if asked.every_step and asked.steps else [end]
    assert [step.position for step in result.steps] == wanted
    for step in result.steps:
        _check_step(network, asked, step, expected[step.position])
        if step.vector is not None:
            seen.check(model, accepted.tape[: step.position], step.vector)
    if not asked.scores:
        assert result.scores is None
    elif asked.steps:
        consumed = torch.tensor(asked.steps)
        assert result.token_ids is not None
        assert result.token_ids.tolist() == list(asked.steps)
        before = expected[accepted.at : end]
        close(result.scores, before[torch.arange(len(consumed)), consumed])


def _check_step(network: PlainNetwork, asked: Asked, step: StepOutput, expected: torch.Tensor) -> None:
    if asked.vector:
        close(step.vector, expected)
    else:
        assert step.vector is None
    if asked.k is None:
        assert step.best_ids is None
        return
    assert step.best_ids is not None
    ids = step.best_ids.tolist()
    assert len(set(ids)) == len(ids) == asked.k
    close(step.best_log_probabilities, expected[ids])
    assert [network.words[number] for number in ids] == list(step.best_texts)
    check_best(ids, expected, range(len(expected)))


def check_best(ids: list[int], expected: torch.Tensor, eligible: range | list[int]) -> None:
    """Asserts that no eligible entry is better than those that were answered, and that they are in order."""
    values = expected[ids].tolist()
    assert all(one >= other - 2 * TOLERANCE for one, other in pairwise(values))
    left = sorted(set(eligible) - set(ids))
    if ids and left:
        assert values[-1] >= float(expected[left].max()) - 2 * TOLERANCE


def close(answered: np.ndarray | None, expected: torch.Tensor) -> None:
    """Asserts equality within the tolerance."""
    assert answered is not None
    assert answered.dtype == np.float32
    np.testing.assert_allclose(answered, expected.numpy(), rtol=0.0, atol=TOLERANCE)


def check_state(
    model: TapeModel, session: TapeSession, state: SessionState, repeated: Accepted | None = None
) -> None:
    """Asserts that a session stands where it has to, and learns what only the server can tell."""
    told = session.now if repeated is None else repeated
    assert state.revision == told.revision
    assert state.position == len(told.tape)
    check_incarnation(model, session, state.incarnation)
    _check_durable(model, session, state.durable_revision, least=0 if repeated is None else repeated.revision)
    assert 0 <= state.oldest_restorable_position <= max(state.position, session.now.position)
    if session.takes_tokens:
        assert state.oldest_restorable_position == 0
    elif repeated is None:
        assert state.oldest_restorable_position <= session.now.floor, (
            f"at position {state.position} positions from {session.now.floor} on have to be restorable, and only "
            f"those from {state.oldest_restorable_position} on are"
        )
        session.told_oldest = state.oldest_restorable_position


def check_incarnation(model: TapeModel, session: TapeSession, told: int) -> None:
    """Asserts that a life has one number, higher than that of any earlier life."""
    if session.incarnation is None:
        assert told > session.past_incarnation
        session.incarnation = model.incarnations[session.session_id] = told
    assert told == session.incarnation


def _check_durable(model: TapeModel, session: TapeSession, told: int, *, least: int) -> None:
    present = session.now.revision
    if model.keeping == "none":
        assert told == 0
    elif model.keeping == "sync":
        assert told in (least, present) if least else told == present
    else:
        assert told <= present
        if not least:
            assert told >= session.durable
    if model.keeping != "none":
        session.tell_durable(told)


def check_life_time(model: TapeModel, session: TapeSession, state: SessionState, *, used: bool) -> None:
    """Asserts that a session lives as long as it has to, and learns until when that is."""
    if used:
        session.earliest_end = session.latest_end = model.now + model.idle_seconds
    left = state.expires_in_seconds
    least, most = max(0.0, session.earliest_end - model.now), max(0.0, session.latest_end - model.now)
    most += UNTOLD_SHARE * model.idle_seconds
    assert least - 1.0 <= left <= most + 1.0, f"ends in {left} s, and should in {least} to {most} s"
    session.earliest_end = session.latest_end = model.now + left
    session.maybe_expired = False


def check_suggestions(
    network: PlainNetwork, tape: Tape, result: SuggestResult, k: int, prefix: str, blocked: frozenset[str]
) -> bool:
    """Whether the suggestions are the best words that begin with the prefix, as the network has it over the tape."""
    expected = network.outputs(tape)[-1]
    eligible = [
        number
        for word, number in network.vocabulary.items()
        if word[0].isalnum() and word not in blocked and word.startswith(prefix)
    ]
    assert len(result.suggestions) == min(k, len(eligible))
    ids = [network.vocabulary[suggestion.text.lower()] for suggestion in result.suggestions]
    assert set(ids) <= set(eligible)
    told = np.array([suggestion.log_probability for suggestion in result.suggestions], dtype=np.float32)
    try:
        close(told, expected[ids])
        check_best(ids, expected, eligible)
    except AssertionError:
        return False
    return True
