"""What visitors of a soak ask, by number, so that whoever checks the answers knows the question."""

from __future__ import annotations

import random

from benchmarks.chaos_models import VOCABULARY

MODEL = "soakchanging"
"""The model of documents and generations, which is replaced again and again."""

SESSION_MODEL = "chaoslstm"
"""The model of short sessions."""

GENERATED_STEPS = 12
_DOCUMENT_TOKENS = (5, 60)
_PROMPT_TOKENS = (1, 8)
_SESSION_TOKENS = (3, 12)


def document(number: int) -> list[int]:
    """The tokens of a document."""
    return _tokens(f"document {number}", _DOCUMENT_TOKENS)


def prompt(number: int) -> list[int]:
    """The tokens that a generation goes on from."""
    return _tokens(f"prompt {number}", _PROMPT_TOKENS)


def session(number: int) -> list[int]:
    """The tokens that a short session consumes."""
    return _tokens(f"session {number}", _SESSION_TOKENS)


def _tokens(name: str, length: tuple[int, int]) -> list[int]:
    source = random.Random(name)
    return [source.randrange(VOCABULARY) for _ in range(source.randint(*length))]
