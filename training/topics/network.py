"""The document classifier: embedding, bidirectional LSTM, mean and max over the steps, softmax head.

Attribute names are those of the model format (`embedding`, `rnn`, `head`). The second head, over the finer
arXiv categories, and all dropout exist in training only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

POOLING = ("mean", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of the network; `dropout` values are probabilities."""

    vocabulary_size: int
    embedding_size: int
    hidden_size: int
    classes: int
    categories: int
    embedding_dropout: float = 0.0
    output_dropout: float = 0.0
    pooled_dropout: float = 0.0


class TopicNetwork(nn.Module):
    """Class and category logits of a ragged batch of documents."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary_size, shape.embedding_size)
        self.rnn = nn.LSTM(shape.embedding_size, shape.hidden_size, batch_first=True, bidirectional=True)
        pooled_size = 2 * shape.hidden_size * len(POOLING)
        self.head = nn.Linear(pooled_size, shape.classes)
        self.category_head = nn.Linear(pooled_size, shape.categories)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (B, classes) and (B, categories) of ids (B, T), padded at the end, and lengths (B)."""
        embedded = self.embedding(ids)
        if self.training and self.shape.embedding_dropout > 0:
            # One mask per document: a dimension gone at one step only is easily read off its neighbours.
            mask = torch.ones(embedded.shape[0], 1, embedded.shape[2])
            embedded = embedded * functional.dropout(mask, self.shape.embedding_dropout)
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        outputs = functional.dropout(outputs, self.shape.output_dropout, self.training)
        pooled = pool(outputs, lengths)
        pooled = functional.dropout(pooled, self.shape.pooled_dropout, self.training)
        return self.head(pooled), self.category_head(pooled)


def pool(outputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Mean, then maximum, over each sequence's own steps: (B, T, H) to (B, 2 H)."""
    steps = torch.arange(outputs.shape[1])
    padding = (steps[None, :] >= lengths[:, None])[:, :, None]
    mean = outputs.masked_fill(padding, 0.0).sum(dim=1) / lengths[:, None]
    maximum = outputs.masked_fill(padding, -torch.inf).amax(dim=1)
    return torch.cat([mean, maximum], dim=1)
