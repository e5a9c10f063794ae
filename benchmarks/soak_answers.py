"""Whether visitors of a soak were answered rightly: against plain torch, over what they had asked.

A document or a generation may be answered by either content of the model that is replaced, but by one of them as a
whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import soak_visits
from benchmarks.chaos_models import PlainModel
from benchmarks.chaos_verdict import TOLERANCE

_LIKELIHOOD_TOLERANCE = 1e-3
"""Of a sum over sixty steps at most."""

_DOCUMENTS_AT_ONCE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How many answers were looked at, how many are wrong, and how many each content of the model gave."""

    answers: int
    wrong: int
    by_content: tuple[int, ...]


def check_documents(answered: Sequence[Any], contents: Sequence[PlainModel]) -> Checked:
    """(number, log-likelihood) of documents."""
    found: list[int | None] = []
    for begin in range(0, len(answered), _DOCUMENTS_AT_ONCE):
        part = answered[begin : begin + _DOCUMENTS_AT_ONCE]
        documents = [soak_visits.document(number) for number, _ in part]
        expected = [_log_likelihoods(plain, documents) for plain in contents]
        for row, (_, told) in enumerate(part):
            found.append(_first(abs(told - each[row]) <= _LIKELIHOOD_TOLERANCE for each in expected))
    return _counted(found, len(contents))


def check_generations(answered: Sequence[Any], contents: Sequence[PlainModel]) -> Checked:
    """(number, tokens, log-probabilities) of generations, which take the likeliest token each time."""
    found = []
    for number, tokens, told in answered:
        prompt = soak_visits.prompt(number)
        whole = len(tokens) == len(told) == soak_visits.GENERATED_STEPS
        found.append(_first(whole and _generates(plain, prompt, tokens, told) for plain in contents))
    return _counted(found, len(contents))


def check_sessions(answered: Sequence[Any], plain: PlainModel) -> Checked:
    """(number, outputs after the last step) of short sessions."""
    found = []
    for number, vector in answered:
        tokens = soak_visits.session(number)
        expected = _after_each_step(plain, tokens)[-1]
        right = len(vector) == len(expected) and bool((abs(np.array(vector) - expected) <= TOLERANCE).all())
        found.append(_first([right]))
    return _counted(found, 1)


def missing(visited: Mapping[str, Any]) -> int:
    """Documents that were sent and have no answer, or more than one."""
    answers = [number for number, _ in visited["documents"]]
    unanswered = set(range(visited["documents_sent"])) - set(answers)
    return len(unanswered) + len(answers) - len(set(answers))


def _log_likelihoods(plain: PlainModel, documents: Sequence[Sequence[int]]) -> list[float]:
    tapes = np.zeros((len(documents), max(map(len, documents))), dtype=np.int64)
    for row, tokens in enumerate(documents):
        tapes[row, : len(tokens)] = tokens
    predicted = plain.every_prediction(tapes)
    return [
        float(predicted[row, np.arange(len(tokens)), tokens].sum(dtype=np.float64))
        for row, tokens in enumerate(documents)
    ]


def _generates(
    plain: PlainModel, prompt: Sequence[int], tokens: Sequence[int], told: Sequence[float]
) -> bool:
    predicted = _after_each_step(plain, [*prompt, *tokens])[len(prompt) : -1]
    expected = predicted[np.arange(len(tokens)), tokens]
    best = predicted.max(axis=1)
    return bool((abs(expected - told) <= TOLERANCE).all() and (best - expected <= TOLERANCE).all())


def _after_each_step(plain: PlainModel, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
    """(T + 1, V): the prediction before the first of T tokens, and after each of them."""
    predicted: npt.NDArray[np.float32] = plain.every_prediction(np.array([tokens], dtype=np.int64))[0]
    return predicted


def _first(fits: Any) -> int | None:
    """Which of the contents it fits; None when none."""
    return next((number for number, fit in enumerate(fits) if fit), None)


def _counted(found: Sequence[int | None], contents: int) -> Checked:
    return Checked(
        answers=len(found),
        wrong=found.count(None),
        by_content=tuple(found.count(number) for number in range(contents)),
    )
