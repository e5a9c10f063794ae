"""What the training loop starts from: tokenizer, encoded documents, first vectors, teacher's opinions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from .batches import Examples
from .documents import FOLDER, Document, category_names, class_names, read_documents
from .measures import Figures, figures
from .teacher import Teacher, held_out_probabilities
from .vectors import word_vectors
from .words import Ids, encode, train_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """`vectors` (V, E) are first word vectors; `teacher` has the linear teacher's figures on validation."""

    tokenizer: Tokenizer
    labels: Sequence[str]
    categories: Sequence[str]
    examples: Examples
    valid_sequences: Sequence[Ids]
    valid_labels: torch.Tensor
    vectors: torch.Tensor
    teacher: Figures


def prepare(
    data: Path,
    state: Path,
    *,
    vocabulary_size: int,
    embedding_size: int,
    folds: int,
    penalty: float,
    seed: int,
    report: Callable[[str], None],
) -> Prepared:
    """Read the two files under `data` and prepare them; what is slow is kept under `state` for a resumed run.

    Only the training file shapes the tokenizer, the vectors and the teacher. Raises FileNotFoundError or
    ValueError where the data is missing or not of the expected columns.
    """
    train = read_documents(data / FOLDER / "train.tsv")
    valid = read_documents(data / FOLDER / "valid.tsv")
    labels, categories = class_names(train), category_names(train)
    texts = [text for document in train for text in (document.title, document.abstract)]
    tokenizer = train_tokenizer(texts, vocabulary_size=vocabulary_size)
    titles = encode(tokenizer, [document.title for document in train])
    abstracts = encode(tokenizer, [document.abstract for document in train])
    valid_sequences = encode(tokenizer, [document.abstract for document in valid])
    train_labels, valid_labels = label_places(train, labels), label_places(valid, labels)
    report(f"{len(train)} training and {len(valid)} validation documents, {tokenizer.get_vocab_size()} words")

    kept = state / "prepared.pt"
    settings = [vocabulary_size, embedding_size, folds, penalty, seed, len(train)]
    if kept.is_file() and (found := torch.load(kept, weights_only=True))["settings"] == settings:
        vectors, soft, scores = found["vectors"], found["soft"], found["scores"]
        report("first vectors and teacher taken from the earlier run")
    else:
        vectors = word_vectors(
            titles + abstracts, vocabulary_size=tokenizer.get_vocab_size(), size=embedding_size, seed=seed
        )
        report("first word vectors made")
        soft = held_out_probabilities(
            abstracts, train_labels, classes=len(labels), penalty=penalty, folds=folds, seed=seed
        )
        agreed = float((soft.argmax(dim=1) == train_labels).float().mean())
        report(f"teacher: held-out accuracy on the training documents {agreed:.4f}")
        whole = Teacher(abstracts, train_labels, classes=len(labels), penalty=penalty)
        scores = whole.probabilities(valid_sequences).log()
        torch.save({"settings": settings, "vectors": vectors, "soft": soft, "scores": scores}, kept)
    teacher = figures(scores, valid_labels)
    report(f"teacher: validation accuracy {teacher.accuracy:.4f}, loss {teacher.loss:.4f}")
    return Prepared(
        tokenizer=tokenizer,
        labels=labels,
        categories=categories,
        examples=Examples(
            titles=titles,
            abstracts=abstracts,
            labels=train_labels,
            categories=torch.tensor([categories.index(document.category) for document in train]),
            soft=soft,
        ),
        valid_sequences=valid_sequences,
        valid_labels=valid_labels,
        vectors=vectors,
        teacher=teacher,
    )


def label_places(documents: Sequence[Document], labels: Sequence[str]) -> torch.Tensor:
    """The place of each document's label. Raises ValueError for a label that training has not."""
    unknown = {document.label for document in documents} - set(labels)
    if unknown:
        raise ValueError(f"labels not in the training documents: {sorted(unknown)}")
    return torch.tensor([labels.index(document.label) for document in documents])
