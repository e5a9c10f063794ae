"""A small part of the keyboard's text: some thousand sentences, the most frequent words."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.cells.course import Epoch, Loss
from training.cells.network import CellNetwork
from training.keyboard import corpus
from training.keyboard.batches import Batch, assemble, plan
from training.keyboard.corpus import Encoded, Text
from training.keyboard.kernels import tied_cross_entropy
from training.keyboard.tokenization import SENTENCE_END, SPECIALS, token_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentences:
    """`held_out` is a tenth of the training part, for choosing learning rates; `valid` is of the validation part."""

    train: Encoded
    held_out: Encoded
    valid: Encoded
    start: int
    never_proposed: tuple[int, ...]
    vocabulary_size: int


def read(data: Path, *, sentences: int, valid_sentences: int, vocabulary_size: int, seed: int) -> Sentences:
    """So many sentences of `data`/tatoeba-eng, drawn by the seed, prepared as for the embedded model.

    Raises OSError for missing files and ValueError for too few sentences.
    """
    whole = corpus.read(data)
    random = np.random.default_rng(seed)
    train = _drawn(whole.tatoeba, sentences, random, "training")
    valid = _drawn(whole.valid, valid_sentences, random, "validation")
    prepared = corpus.prepare(Text(tatoeba=train, common_voice=[], valid=valid), seed)
    tokenizer = corpus.make_tokenizer(prepared.tatoeba, vocabulary_size)
    kept = sentences - sentences // 10
    return Sentences(
        train=corpus.encode(tokenizer, prepared.tatoeba[:kept]),
        held_out=corpus.encode(tokenizer, prepared.tatoeba[kept:]),
        valid=corpus.encode(tokenizer, prepared.valid),
        start=token_id(tokenizer, SENTENCE_END),
        never_proposed=tuple(token_id(tokenizer, special) for special in SPECIALS),
        vocabulary_size=tokenizer.get_vocab_size(),
    )


def epoch_of(text: Encoded, start: int, batch_tokens: int) -> Epoch:
    """Epochs of batches of about so many words."""

    def epoch(random: np.random.Generator) -> Sequence[Loss]:
        chosen = plan(text, batch_tokens, random)
        return [partial(_loss, assemble(text, sentences, start)) for sentences in chosen]

    return epoch


def _loss(batch: Batch, network: CellNetwork) -> Tensor:
    outputs = network.outputs(batch.inputs).flatten(0, 1).index_select(0, batch.places)
    head = network.head
    total = tied_cross_entropy(outputs, head.weight, head.bias, batch.targets, torch.float32)
    return total / len(batch.targets)


def _drawn(sentences: list[str], count: int, random: np.random.Generator, part: str) -> list[str]:
    if len(sentences) < count:
        raise ValueError(f"expected at least {count} {part} sentences, got {len(sentences)}")
    return [sentences[place] for place in random.permutation(len(sentences))[:count]]
