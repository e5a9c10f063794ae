"""Sequences made of other sequences: what is wanted of the offline lane, and what it answers."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TransductionWants:
    """How outputs are searched for. Only documents that want the same are computed together.

    `beam_size` hypotheses are kept at each step; 1 takes the likeliest token each time. `length_penalty` is alpha of
    ((5 + length) / 6)^alpha, by which log-probabilities are divided, not negative. An output has at most
    `max_output_steps` tokens, the one that ends it included. The best `alternatives` are answered, at most `beam_size`.
    """

    beam_size: int = 1
    length_penalty: float = 0.0
    max_output_steps: int = 512
    alternatives: int = 1

    def __post_init__(self) -> None:
        for name in ("beam_size", "max_output_steps", "alternatives"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.alternatives > self.beam_size:
            raise ValueError(f"alternatives: expected at most {self.beam_size}, got {self.alternatives}")
        if not 0 <= self.length_penalty < float("inf"):
            raise ValueError(f"length_penalty: expected 0 or more, got {self.length_penalty}")

    def penalty(self, length: int) -> float:
        """What the log-probability of so many tokens is divided by: equation 14 of Wu et al. 2016."""
        try:
            return float(((5 + length) / 6) ** self.length_penalty)
        except OverflowError:
            return sys.float_info.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """One output: its tokens without the one that ends it; its natural log-probability, that of its end included;
    and that divided by the length penalty. `ended`: whether it reached its end.
    """

    token_ids: tuple[int, ...]
    log_probability: float
    score: float
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Transduction:
    """What became of a document: its outputs, best first."""

    hypotheses: tuple[Hypothesis, ...]
    step_count: int
    queue_seconds: float
    compute_seconds: float
