"""A small part of the topics' documents: abstracts in twelve classes, read to the end before the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.nn import functional

from training.cells.course import Epoch, Loss
from training.cells.network import CellNetwork
from training.topics.batches import Batch, batches
from training.topics.documents import FOLDER, Document, class_names, read_documents
from training.topics.preparation import label_places
from training.topics.words import Ids, encode, train_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Documents as word ids, cut to their first words, and the places of their labels (N,)."""

    sequences: list[Ids]
    labels: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """`held_out` is a tenth of the training part, for choosing learning rates; `valid` is of the validation part, and
    `whole` the same uncut.
    """

    train: Labelled
    held_out: Labelled
    valid: Labelled
    whole: Labelled
    classes: tuple[str, ...]
    vocabulary_size: int


def read(
    data: Path, *, documents: int, valid_documents: int, vocabulary_size: int, longest_steps: int, seed: int
) -> Documents:
    """So many documents of `data`/arxiv-abstracts-12, as many of each class, drawn by the seed.

    Raises OSError for missing files and ValueError for files of other columns or too few documents.
    """
    every = read_documents(data / FOLDER / "train.tsv")
    classes = class_names(every)
    random = np.random.default_rng(seed)
    train = _drawn(every, classes, documents, random)
    valid = _drawn(read_documents(data / FOLDER / "valid.tsv"), classes, valid_documents, random)
    tokenizer = train_tokenizer([document.abstract for document in train], vocabulary_size=vocabulary_size)

    def labelled(part: list[Document], steps: int | None = longest_steps) -> Labelled:
        whole = encode(tokenizer, [document.abstract for document in part])
        return Labelled(sequences=[ids[:steps] for ids in whole], labels=label_places(part, classes))

    kept = len(train) - len(train) // 10
    return Documents(
        train=labelled(train[:kept]),
        held_out=labelled(train[kept:]),
        valid=labelled(valid),
        whole=labelled(valid, None),
        classes=tuple(classes),
        vocabulary_size=tokenizer.get_vocab_size(),
    )


def epoch_of(documents: Labelled, batch_documents: int) -> Epoch:
    """Epochs of batches of documents of one length: each batch is cut to its shortest."""

    def epoch(random: np.random.Generator) -> Sequence[Loss]:
        drawn = batches(documents.sequences, size=batch_documents, random=random)
        return [partial(_loss, batch, documents.labels) for batch in drawn]

    return epoch


def _loss(batch: Batch, labels: Tensor, network: CellNetwork) -> Tensor:
    return functional.cross_entropy(network.head(network.ends(batch.ids.t())), labels[batch.places])


def _drawn(
    documents: list[Document], classes: list[str], count: int, random: np.random.Generator
) -> list[Document]:
    """Mixed, so that every part of them has all classes."""
    each = count // len(classes)
    drawn: list[Document] = []
    for name in classes:
        of_class = [document for document in documents if document.label == name and document.abstract]
        if len(of_class) < each:
            raise ValueError(f"expected at least {each} documents of {name}, got {len(of_class)}")
        drawn += [of_class[place] for place in random.permutation(len(of_class))[:each]]
    return [drawn[place] for place in random.permutation(len(drawn))]
