"""How much is trained on, and how."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Sizes of both tasks. Every network of a task has the same course but for its learning rate, which is the one of
    `rates` with the least loss on a held-out tenth of the training part. What is drawn depends on the first of `seeds`.
    """

    rates: tuple[float, ...] = (0.003, 0.01, 0.03)
    seeds: tuple[int, ...] = (1, 2)
    hidden_size: int = 128
    sentences: int = 10_000
    valid_sentences: int = 3_000
    words: int = 2_000
    word_size: int = 128
    sentence_epochs: int = 3
    batch_words: int = 768
    documents: int = 4_800
    valid_documents: int = 3_000
    document_words: int = 4_000
    document_word_size: int = 64
    document_epochs: int = 5
    batch_documents: int = 32
    document_steps: int = 64
    gradient_steps: int = 100
    gradient_documents: int = 64
    turns: int = 40
    turn_seconds: float = 0.03
    served_words: int = 10_000
    served_hidden_size: int = 512


FULL = Plan()
QUICK = Plan(
    rates=(0.01,),
    seeds=(1,),
    hidden_size=16,
    sentences=60,
    valid_sentences=20,
    words=200,
    word_size=8,
    sentence_epochs=1,
    documents=48,
    valid_documents=24,
    document_words=200,
    document_word_size=8,
    document_epochs=1,
    document_steps=20,
    gradient_steps=12,
    gradient_documents=4,
    turns=1,
    turn_seconds=0.005,
    served_words=200,
    served_hidden_size=32,
)
"""In seconds, to see that all of it works; its figures mean nothing."""
