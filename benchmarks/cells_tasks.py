"""What the networks learn, and how good they are at it through Gatehouse's own network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from gatehouse_server.network.network import Network
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from benchmarks.cells_kinds import CAUSAL, KINDS, TaskName
from benchmarks.cells_plan import Plan
from training.cells import keyboard, topics
from training.cells.course import Epoch
from training.cells.network import Kind, Shape
from training.keyboard.corpus import Encoded
from training.keyboard.evaluation import measure
from training.topics.measures import figures

_READ_TOGETHER = 64


class Task(ABC):
    """One corpus. `model` is the shape that the others are compared with."""

    name: TaskName
    kinds: tuple[Kind, ...]
    epochs: int
    model: Shape

    @abstractmethod
    def epoch(self) -> Epoch:
        """Of the training part."""

    @abstractmethod
    def held_out_loss(self, network: Network) -> float:
        """In nats, for choosing a learning rate."""

    @abstractmethod
    def quality(self, network: Network) -> dict[str, float]:
        """Figures of the validation part."""


class Keyboard(Task):
    """The next word of a sentence."""

    name: TaskName = "keyboard"
    kinds = CAUSAL

    def __init__(self, data: Path, plan: Plan, seed: int) -> None:
        self._text = keyboard.read(
            data,
            sentences=plan.sentences,
            valid_sentences=plan.valid_sentences,
            vocabulary_size=plan.words,
            seed=seed,
        )
        self._batch_words = plan.batch_words
        self.epochs = plan.sentence_epochs
        size = self._text.vocabulary_size
        self.model = Shape(
            kind="lstm",
            vocabulary_size=size,
            embedding_size=plan.word_size,
            hidden_size=plan.hidden_size,
            classes=size,
        )

    def epoch(self) -> Epoch:
        return keyboard.epoch_of(self._text.train, self._text.start, self._batch_words)

    def held_out_loss(self, network: Network) -> float:
        return float(np.log(self._figures(network, self._text.held_out)["perplexity"]))

    def quality(self, network: Network) -> dict[str, float]:
        return self._figures(network, self._text.valid)

    def _figures(self, network: Network, text: Encoded) -> dict[str, float]:
        found = measure(self._scores(network, text), self._text.never_proposed)
        return {"perplexity": found.perplexity, "top_1": found.top_1, "top_3": found.top_3}

    @torch.inference_mode()
    def _scores(self, network: Network, text: Encoded) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        sentences = [torch.from_numpy(text.sentence(n).astype(np.int64)) for n in range(text.sentences)]
        for group in _by_length(sentences):
            words = [sentences[place] for place in group]
            start = torch.tensor([self._text.start])
            inputs = pack_sequence([torch.cat([start, sentence[:-1]]) for sentence in words])
            sizes = tuple(inputs.batch_sizes.tolist())
            outputs = network.scan(inputs.data, sizes, network.layout.zeros(len(group)))
            head = network.head
            assert head is not None
            logits = head.logits(outputs)
            scores = logits[:, : head.size] - head.log_normalizer(logits).unsqueeze(1)
            yield scores.numpy(), pack_sequence(words).data.numpy()


class Topics(Task):
    """The class of a document, told when it has been read to its end."""

    name: TaskName = "topics"
    kinds = KINDS

    def __init__(self, data: Path, plan: Plan, seed: int) -> None:
        self.documents = topics.read(
            data,
            documents=plan.documents,
            valid_documents=plan.valid_documents,
            vocabulary_size=plan.document_words,
            longest_steps=plan.document_steps,
            seed=seed,
        )
        self._batch_documents = plan.batch_documents
        self.epochs = plan.document_epochs
        self.model = Shape(
            kind="lstm",
            vocabulary_size=self.documents.vocabulary_size,
            embedding_size=plan.document_word_size,
            hidden_size=plan.hidden_size,
            classes=len(self.documents.classes),
        )

    def epoch(self) -> Epoch:
        return topics.epoch_of(self.documents.train, self._batch_documents)

    def held_out_loss(self, network: Network) -> float:
        return self._figures(network, self.documents.held_out)["loss"]

    def quality(self, network: Network) -> dict[str, float]:
        return self._figures(network, self.documents.valid)

    @torch.inference_mode()
    def _figures(self, network: Network, part: topics.Labelled) -> dict[str, float]:
        head = network.head
        assert head is not None
        sequences = [torch.from_numpy(ids.astype(np.int64)) for ids in part.sequences]
        scores = torch.zeros(len(sequences), head.size)
        for group in _by_length(sequences):
            packed = pack_sequence([sequences[place] for place in group])
            ends = network.summarize(packed.data, tuple(packed.batch_sizes.tolist()))
            scores[group] = head.logits(ends)[:, : head.size]
        found = figures(scores, part.labels)
        return {"accuracy": found.accuracy, "loss": found.loss}


def _by_length(sequences: list[Tensor]) -> Iterator[list[int]]:
    """Places of all of them in groups, the longest first."""
    order = sorted(range(len(sequences)), key=lambda place: -len(sequences[place]))
    for first in range(0, len(order), _READ_TOGETHER):
        yield order[first : first + _READ_TOGETHER]
