"""The search for the likeliest outputs, against an exhaustive one over a tiny vocabulary."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from gatehouse_server.engine.beam_search import BeamSearch
from gatehouse_server.engine.transduction import Hypothesis, TransductionWants
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transducers import NextTokens, by_the_book

START, END, V = 0, 1, 4


def made_up(seed: int, *, levels: int | None = None) -> NextTokens:
    """A language of which every prefix has its own next tokens; of few `levels`, many of them are equally likely."""

    def model(prefix: tuple[int, ...]) -> npt.NDArray[np.float32]:
        random = np.random.default_rng([seed, len(prefix), *prefix])
        logits = random.normal(size=V) if levels is None else random.integers(0, levels, size=V).astype(float)
        return np.asarray(logits - np.log(np.exp(logits).sum()), dtype=np.float32)

    return model


def search(models: Sequence[NextTokens], wants: TransductionWants) -> list[tuple[Hypothesis, ...] | None]:
    """Drives a search as a decoder would: here the state of a row is all that it was given."""
    beam = BeamSearch(len(models), wants, start_id=START, end_id=END)
    states: list[tuple[int, tuple[int, ...]]] = [(number, ()) for number in range(len(models))]
    first = True
    while len(beam):
        states = [states[parent] for parent in beam.parents]
        if not first:
            states = [
                (number, (*prefix, int(token)))
                for (number, prefix), token in zip(states, beam.tokens, strict=True)
            ]
        first = False
        rows = np.stack([models[number](prefix) for number, prefix in states])
        rows[:, START] = -np.inf
        order = np.argsort(-rows, axis=1, kind="stable")[:, : min(wants.beam_size, V)]
        beam.advance(np.take_along_axis(rows, order, axis=1), order)
    return beam.results()


def every_output(model: NextTokens, most_steps: int) -> list[tuple[float, tuple[int, ...], bool]]:
    """Log-probability, tokens and whether it ended, of each output that there is."""
    letters = [token for token in range(V) if token not in (START, END)]
    found = []
    for length in range(most_steps + 1):
        for tokens in itertools.product(letters, repeat=length):
            total = sum(float(model(tokens[:place])[token]) for place, token in enumerate(tokens))
            if length < most_steps:
                found.append((total + float(model(tokens)[END]), tokens, True))
            else:
                found.append((total, tokens, False))
    return found


def penalized(total: float, tokens: tuple[int, ...], ended: bool, *, alpha: float) -> float:
    return total / float(((5 + len(tokens) + ended) / 6) ** alpha)


@given(seed=st.integers(0, 10_000), alpha=st.sampled_from([0.0, 0.6, 1.0, 3.0]), steps=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_a_beam_wide_enough_finds_what_an_exhaustive_search_does(seed: int, alpha: float, steps: int) -> None:
    """The best alternatives, in order, with their log-probabilities, scores and whether they ended."""
    model = made_up(seed)
    wants = TransductionWants(
        beam_size=3**steps, length_penalty=alpha, max_output_steps=steps, alternatives=min(5, 3**steps)
    )
    (found,) = search([model], wants)
    ranked = sorted(every_output(model, steps), key=lambda each: penalized(*each, alpha=alpha), reverse=True)[
        : wants.alternatives
    ]
    assert found is not None
    assert [(each.token_ids, each.ended) for each in found] == [
        (tokens, ended) for _, tokens, ended in ranked
    ]
    for hypothesis, (total, tokens, ended) in zip(found, ranked, strict=True):
        assert hypothesis.log_probability == pytest.approx(total, abs=1e-6)
        assert hypothesis.score == pytest.approx(penalized(total, tokens, ended, alpha=alpha), abs=1e-6)


@given(seed=st.integers(0, 10_000), alpha=st.sampled_from([0.0, 0.6, 2.0]))
@settings(max_examples=40, deadline=None)
def test_a_beam_of_one_is_greedy(seed: int, alpha: float) -> None:
    """The likeliest token each time, whatever the length penalty says."""
    model = made_up(seed)
    (found,) = search([model], TransductionWants(length_penalty=alpha, max_output_steps=8))
    tokens: list[int] = []
    total, ended = 0.0, False
    while len(tokens) < 8 and not ended:
        row = model(tuple(tokens)).copy()
        row[START] = -np.inf
        token = int(row.argmax())
        total += float(row[token])
        ended = token == END
        if not ended:
            tokens.append(token)
    assert found is not None
    assert (found[0].token_ids, found[0].ended) == (tuple(tokens), ended)
    assert found[0].log_probability == pytest.approx(total, abs=1e-6)


@given(
    seed=st.integers(0, 10_000),
    beam=st.integers(1, 6),
    alpha=st.sampled_from([0.0, 0.7, 1.5]),
    steps=st.integers(1, 9),
    levels=st.sampled_from([None, 2, 3]),
    data=st.data(),
)
@settings(max_examples=120, deadline=None)
def test_stopping_early_changes_no_answer(
    seed: int, beam: int, alpha: float, steps: int, levels: int | None, data: st.DataObject
) -> None:
    """What is answered is what a search up to the last step would answer; equal ones in the order of their tokens."""
    alternatives = data.draw(st.integers(1, beam))
    wants = TransductionWants(
        beam_size=beam, length_penalty=alpha, max_output_steps=steps, alternatives=alternatives
    )
    model = made_up(seed, levels=levels)
    (found,) = search([model], wants)
    assert found is not None
    assert [(each.token_ids, each.log_probability, each.score, each.ended) for each in found] == by_the_book(
        model,
        end_id=END,
        banned=[START],
        beam_size=beam,
        length_penalty=alpha,
        max_output_steps=steps,
        alternatives=alternatives,
    )


@given(seed=st.integers(0, 10_000), beam=st.integers(1, 4), count=st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_documents_do_not_see_each_other(seed: int, beam: int, count: int) -> None:
    """Each gets to the last bit what it gets by itself."""
    models = [made_up(seed + number) for number in range(count)]
    wants = TransductionWants(beam_size=beam, length_penalty=0.6, max_output_steps=7, alternatives=beam)
    assert search(models, wants) == [search([model], wants)[0] for model in models]


def test_the_search_ends_when_nothing_better_can_come() -> None:
    """A certain end is found at once: the decoder is not asked a second time."""
    wants = TransductionWants(beam_size=3, max_output_steps=100)
    beam = BeamSearch(1, wants, start_id=START, end_id=END)
    beam.advance(np.log(np.array([[0.9, 0.06, 0.04]], dtype=np.float32)), np.array([[END, 2, 3]]))
    assert len(beam) == 0
    (found,) = beam.results()
    assert found is not None
    assert [each.token_ids for each in found] == [()]


def test_a_longer_output_may_win_by_the_length_penalty() -> None:
    """Without it the short one is answered, with it the long one."""

    def model(prefix: tuple[int, ...]) -> npt.NDArray[np.float32]:
        chances = {(): [1e-9, 0.4, 0.6, 1e-9], (2,): [1e-9, 0.1, 0.9, 1e-9]}.get(
            prefix, [1e-9, 0.7, 0.2, 0.1]
        )
        return np.log(np.array(chances, dtype=np.float32))

    def found(alpha: float) -> tuple[int, ...]:
        wants = TransductionWants(beam_size=2, length_penalty=alpha, max_output_steps=6)
        (best,) = search([model], wants)
        assert best is not None
        return best[0].token_ids

    assert found(0.0) == ()
    assert found(2.0) == (2, 2)


def test_equally_likely_outputs_come_in_the_order_of_their_tokens() -> None:
    """All of them are, here, however many: that of the better parent first, then the lower token."""
    beam = BeamSearch(
        1, TransductionWants(beam_size=30, max_output_steps=2, alternatives=30), start_id=0, end_id=99
    )
    ids = np.arange(10, 60)
    even = np.full(50, -np.log(50), dtype=np.float32)
    beam.advance(even[np.newaxis], ids[np.newaxis])
    assert beam.tokens.tolist() == ids[:30].tolist()
    beam.advance(np.tile(even, (30, 1)), np.tile(ids, (30, 1)))
    (found,) = beam.results()
    assert found is not None
    assert [each.token_ids for each in found] == [(10, int(second)) for second in ids[:30]]


def test_what_is_not_a_number_costs_its_document_alone() -> None:
    """The others go on, and are answered."""

    def broken(prefix: tuple[int, ...]) -> npt.NDArray[np.float32]:
        return (
            np.full(V, np.nan, dtype=np.float32)
            if len(prefix) == 2
            else np.log(np.array([1e-9, 0.1, 0.8, 0.1], dtype=np.float32))
        )

    good = made_up(3)
    wants = TransductionWants(beam_size=2, max_output_steps=5)
    found = search([good, broken], wants)
    assert found == [search([good], wants)[0], None]


@pytest.mark.parametrize(
    "refused",
    [
        {"beam_size": 0},
        {"alternatives": 2},
        {"max_output_steps": 0},
        {"length_penalty": -0.1},
        {"length_penalty": math.inf},
    ],
)
def test_wants_that_mean_nothing_are_refused(refused: dict[str, float]) -> None:
    """Each by a line that names it."""
    with pytest.raises(ValueError, match=next(iter(refused))):
        TransductionWants(**refused)  # type: ignore[arg-type]


def test_the_largest_penalty_of_the_longest_output_is_a_number() -> None:
    """Not an overflow, which would fail the document as a defect of the server's."""
    assert TransductionWants(length_penalty=100.0).penalty(100_000) == sys.float_info.max
