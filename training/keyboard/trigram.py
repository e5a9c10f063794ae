"""The baseline: an interpolated Kneser-Ney trigram with one discount.

Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (1998), section 3.6:
the trigram counts how often, the lower orders after how many different words.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.keyboard.corpus import Encoded

Counts = npt.NDArray[np.int64]
Distribution = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Successors:
    """For each context key, in order, the words seen after it and their counts."""

    contexts: Counts
    bounds: Counts  # of context number n: entries bounds[n] to bounds[n + 1]
    words: Counts
    counts: Counts

    @classmethod
    def of(cls, keys: Counts, counts: Counts, vocabulary_size: int) -> "_Successors":
        """From sorted keys context * V + word."""
        contexts, first = np.unique(keys // vocabulary_size, return_index=True)
        return cls(contexts, np.append(first, len(keys)), keys % vocabulary_size, counts)

    def discounted(self, context: int, lower: Distribution, discount: float) -> Distribution:
        """The context's distribution interpolated with `lower` (V,); `lower` itself for an unseen context."""
        place = int(np.searchsorted(self.contexts, context))
        if place == len(self.contexts) or self.contexts[place] != context:
            return lower
        entries = slice(int(self.bounds[place]), int(self.bounds[place + 1]))
        counts = self.counts[entries]
        total = counts.sum()
        result: Distribution = lower * (discount * len(counts) / total)
        result[self.words[entries]] += (counts - discount) / total
        return result


class Trigram:
    """P(word | two words before) over all V ids, from `text` with `start` twice before each sentence."""

    def __init__(self, text: Encoded, vocabulary_size: int, start: int, discount: float = 0.75) -> None:
        self.vocabulary_size, self.discount = vocabulary_size, discount
        size = vocabulary_size
        keys, counts = np.unique(contexts(text, size, start) * size + text.ids, return_counts=True)
        pair_keys, pair_counts = np.unique(keys % (size * size), return_counts=True)
        word_keys, word_counts = np.unique(pair_keys % size, return_counts=True)
        self._after_two = _Successors.of(keys, counts, size)
        self._after_one = _Successors.of(pair_keys, pair_counts, size)
        after_none = _Successors.of(word_keys, word_counts, size)
        self._unconditional = after_none.discounted(0, np.full(size, 1.0 / size), discount)

    def after_one(self, word: int) -> Distribution:
        """The bigram level (V,)."""
        return self._after_one.discounted(word, self._unconditional, self.discount)

    def distribution(self, context: int, after_one: Distribution | None = None) -> Distribution:
        """Probabilities (V,) after the two words u, v of `context` = u * V + v.

        `after_one`, when given, is this object's bigram level for v, computed once for many contexts.
        """
        lower = after_one if after_one is not None else self.after_one(context % self.vocabulary_size)
        return self._after_two.discounted(context, lower, self.discount)


def contexts(text: Encoded, vocabulary_size: int, start: int) -> Counts:
    """For every target of `text` the key u * V + v of the two words before it within its sentence."""
    before = np.empty(len(text.ids), dtype=np.int64)
    before[1:] = text.ids[:-1]
    before[text.starts[:-1]] = start
    twice = np.empty_like(before)
    twice[1:] = before[:-1]
    twice[text.starts[:-1]] = start
    return twice * vocabulary_size + before
