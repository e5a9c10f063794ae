"""Encoder, bridge and decoder in torch's own modules, with the attribute names of the model format."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of the network; `dropout` is a probability, of what is embedded and of the summary."""

    input_vocabulary: int
    input_embedding: int
    encoder_hidden: int
    output_vocabulary: int
    output_embedding: int
    decoder_hidden: int
    dropout: float = 0.0

    @property
    def summary_size(self) -> int:
        """Values that the encoder sums a sequence up in: both directions at their ends."""
        return 2 * self.encoder_hidden


class Encoder(nn.Module):
    """What is read, in both directions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.input_vocabulary, shape.input_embedding)
        self.rnn = nn.GRU(shape.input_embedding, shape.encoder_hidden, batch_first=True, bidirectional=True)
        self._dropout = shape.dropout

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Ids (B, T), padded at the end, and lengths (B,) to summaries (B, 2 H)."""
        embedded = functional.dropout(self.embedding(ids), self._dropout, self.training)
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        ends = self.rnn(packed)[1]
        return torch.cat([ends[0], ends[1]], dim=1)


class Decoder(nn.Module):
    """What is written: `initial` is the bridge from the summary to the state before the first token."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.output_vocabulary, shape.output_embedding)
        self.initial = nn.Linear(shape.summary_size, shape.decoder_hidden)
        self.rnn = nn.GRU(shape.output_embedding, shape.decoder_hidden, batch_first=True)
        self.head = nn.Linear(shape.decoder_hidden, shape.output_vocabulary)

    def forward(self, summaries: Tensor, ids: Tensor) -> Tensor:
        """Logits (B, T, V) of what follows each of ids (B, T)."""
        state = torch.tanh(self.initial(summaries)).unsqueeze(0)
        outputs, _ = self.rnn(self.embedding(ids), state)
        logits: Tensor = self.head(outputs)
        return logits


class DateNetwork(nn.Module):
    """Both halves; its state dict is what the model folder stores."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)

    def forward(self, ids: Tensor, lengths: Tensor, given: Tensor) -> Tensor:
        """Logits (B, U, V) of the outputs, given the tokens (B, U) before each of them."""
        summaries = functional.dropout(self.encoder(ids, lengths), self.shape.dropout, self.training)
        logits: Tensor = self.decoder(summaries, given)
        return logits
