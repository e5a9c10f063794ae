"""A language model small enough to know by heart: ten words, and probabilities that depend on the last token
only.
"""

from __future__ import annotations

import math

VOCABULARY = ("<unk>", "</s>", "how", "are", "you", "doing", "done", "today", "i", "am")
UNKNOWN_ID, END_ID = 0, 1


def encode(text: str) -> list[int]:
    """Words at spaces, unknown ones as <unk>."""
    return [VOCABULARY.index(word) if word in VOCABULARY else UNKNOWN_ID for word in text.lower().split()]


def log_probabilities(tape: list[int]) -> list[float]:
    """After a tape: the word whose id follows that of the last token is the likeliest, the next one comes
    second, ...
    """
    last = tape[-1] if tape else END_ID
    size = len(VOCABULARY)
    logits = [-float((token - last - 1) % size) for token in range(size)]
    normalizer = math.log(sum(math.exp(logit) for logit in logits))
    return [logit - normalizer for logit in logits]


def best(tape: list[int], k: int) -> list[tuple[int, float]]:
    """The k likeliest tokens after a tape."""
    return sorted(enumerate(log_probabilities(tape)), key=lambda entry: (-entry[1], entry[0]))[:k]
