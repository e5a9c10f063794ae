"""Batches of examples as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .days import Example
from .tokenization import END, START


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """`ids` (B, T) padded with 0 behind `lengths` (B,); `given` (B, U) begins with the start token; `wanted` (B, U)
    ends with the end token.
    """

    ids: Tensor
    lengths: Tensor
    given: Tensor
    wanted: Tensor


class Batcher:
    """Makes batches with the two tokenizers."""

    def __init__(self, reading: Tokenizer, writing: Tokenizer) -> None:
        self._reading = reading
        self._writing = writing
        self._start = _id_of(writing, START)
        self._end = _id_of(writing, END)

    def batch(self, examples: Sequence[Example]) -> Batch:
        """All days have the same number of characters, so only what is read is padded."""
        read = [
            encoding.ids for encoding in self._reading.encode_batch_fast([each.text for each in examples])
        ]
        lengths = torch.tensor([len(ids) for ids in read])
        ids = torch.zeros(len(read), int(lengths.max()), dtype=torch.int64)
        for row, tokens in enumerate(read):
            ids[row, : len(tokens)] = torch.tensor(tokens)
        written = torch.tensor(
            [encoding.ids for encoding in self._writing.encode_batch_fast([each.day for each in examples])]
        )
        edge = written.new_ones(len(read), 1)
        return Batch(
            ids=ids,
            lengths=lengths,
            given=torch.cat([edge * self._start, written], dim=1),
            wanted=torch.cat([written, edge * self._end], dim=1),
        )

    def written(self, ids: Sequence[int]) -> str | None:
        """The text of ids up to the end token; None where it does not come."""
        if self._end not in ids:
            return None
        return str(self._writing.decode(ids[: ids.index(self._end)], skip_special_tokens=False))


def _id_of(tokenizer: Tokenizer, token: str) -> int:
    number = tokenizer.token_to_id(token)
    assert number is not None, token
    return int(number)
