"""The trigram baseline and the figures of the keyboard recipe."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.keyboard.corpus import Encoded
from training.keyboard.evaluation import measure, trigram_scores
from training.keyboard.trigram import Trigram

V, START, D = 7, 1, 0.75
SENTENCES = [[2, 3, 4, 1], [2, 3, 5, 1], [2, 3, 4, 1], [6, 1], [3, 4, 2, 3, 1]]


def encoded(sentences: list[list[int]]) -> Encoded:
    starts = np.cumsum([0, *(len(sentence) for sentence in sentences)]).astype(np.int64)
    return Encoded(ids=np.concatenate([np.array(s, dtype=np.int32) for s in sentences]), starts=starts)


def slow_probability(sentences: list[list[int]], u: int, v: int, w: int) -> float:
    """Interpolated Kneser-Ney by the book, over dictionaries."""
    trigrams: Counter[tuple[int, int, int]] = Counter()
    for sentence in sentences:
        padded = [START, START, *sentence]
        trigrams.update(zip(padded, padded[1:], padded[2:], strict=False))
    pairs = Counter((b, c) for _, b, c in trigrams)
    words = Counter(c for _, c in pairs)

    def level(counts: dict[int, int], word: int, lower: float) -> float:
        total = sum(counts.values())
        if total == 0:
            return lower
        return max(counts.get(word, 0) - D, 0.0) / total + D * len(counts) / total * lower

    one = level(dict(words), w, 1.0 / V)
    two = level({c: n for (b, c), n in pairs.items() if b == v}, w, one)
    return level({c: n for (a, b, c), n in trigrams.items() if (a, b) == (u, v)}, w, two)


def test_the_trigram_equals_kneser_ney_by_the_book() -> None:
    """Every probability after every pair of words, seen or not, against a slow dictionary version."""
    trigram = Trigram(encoded(SENTENCES), V, START, D)
    for u in range(V):
        for v in range(V):
            expected = [slow_probability(SENTENCES, u, v, w) for w in range(V)]
            np.testing.assert_allclose(trigram.distribution(u * V + v), expected, rtol=1e-12)


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=6), min_size=1, max_size=8))
def test_the_trigram_sums_to_one(sentences: list[list[int]]) -> None:
    """After every context, from whatever text, the probabilities are positive and sum to one."""
    trigram = Trigram(encoded(sentences), V, START, D)
    for context in range(V * V):
        distribution = trigram.distribution(context)
        assert distribution.min() > 0.0
        assert distribution.sum() == pytest.approx(1.0)


def test_the_trigram_is_judged_on_every_target_once() -> None:
    """Its perplexity equals the slow version's, summed target by target in sentence order."""
    judged = [[2, 3, 1], [5, 4, 1], [6, 1]]
    nats = 0.0
    for sentence in judged:
        padded = [START, START, *sentence]
        for u, v, w in zip(padded, padded[1:], padded[2:], strict=False):
            nats -= math.log(slow_probability(SENTENCES, u, v, w))
    figures = measure(
        trigram_scores(Trigram(encoded(SENTENCES), V, START, D), encoded(judged), START), [0, 1]
    )
    assert figures.targets == 8
    assert figures.perplexity == pytest.approx(math.exp(nats / 8), rel=1e-5)


def test_figures_count_every_target_and_never_propose_the_specials() -> None:
    """The specials are targets of the perplexity; in the ranking they stand in nobody's way and never hit."""
    scores = np.log(
        np.array(
            [
                [0.50, 0.20, 0.15, 0.10, 0.04, 0.01],  # target 2: first among words
                [0.50, 0.20, 0.15, 0.10, 0.04, 0.01],  # target 4: third
                [0.50, 0.20, 0.15, 0.10, 0.04, 0.01],  # target 5: fourth
                [0.50, 0.20, 0.15, 0.10, 0.04, 0.01],  # target 1, a special: a miss
                [0.20, 0.20, 0.15, 0.15, 0.15, 0.15],  # target 5: equal scores rank by id, so fourth
            ],
            dtype=np.float32,
        )
    )
    figures = measure([(scores, np.array([2, 4, 5, 1, 5]))], [0, 1])
    assert figures.top_1 == pytest.approx(1 / 5)
    assert figures.top_3 == pytest.approx(2 / 5)
    mean = (math.log(0.15) + math.log(0.04) + math.log(0.01) + math.log(0.20) + math.log(0.15)) / 5
    assert figures.perplexity == pytest.approx(math.exp(-mean), rel=1e-5)


def test_measuring_nothing_is_an_error() -> None:
    """No target, no figure."""
    with pytest.raises(ValueError, match="no target"):
        measure([], [0, 1])
