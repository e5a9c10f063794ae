"""Ragged sequences without padding: the rows of one step after another, as in torch's PackedSequence.

Sequences are sorted by length, longest first. Step t holds the rows of the `batch_sizes[t]` sequences that
are longer than t, so batch sizes never grow and nothing is ever computed for padding.

A sequence may have a hundred thousand steps, and the network waits while a batch is prepared: what is done for all
steps at once is done without a loop.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import neg

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """`data` (N, F) or (N,): the rows of step 0, then of step 1, ...; `batch_sizes`: one entry per step.

    Raises ValueError when the batch sizes grow, are not positive, or do not add up to N.
    """

    data: Tensor
    batch_sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        check_batch_sizes(self.batch_sizes, self.data.shape[0])


def check_batch_sizes(batch_sizes: Sequence[int], rows: int) -> None:
    """Raise ValueError unless the batch sizes are positive, never grow, and add up to `rows`."""
    if len(batch_sizes) == 0:
        raise ValueError("batch_sizes: expected at least one step, got none")
    if batch_sizes[-1] < 1:
        raise ValueError(f"batch_sizes: expected positive numbers, got {batch_sizes[-1]}")
    if list(batch_sizes) != sorted(batch_sizes, reverse=True):
        raise ValueError("batch_sizes: expected numbers that never grow (longest sequence first)")
    if sum(batch_sizes) != rows:
        raise ValueError(f"batch_sizes: expected a sum of {rows} rows, got {sum(batch_sizes)}")


def batch_sizes_of(lengths_descending: Sequence[int]) -> tuple[int, ...]:
    """How many sequences are still running at each step. Raises ValueError unless sorted and not empty."""
    return tuple(running_of(lengths_descending).tolist())


def running_of(lengths_descending: Sequence[int]) -> Tensor:
    """The same as (T,) int64, on the host."""
    if not lengths_descending or lengths_descending[-1] < 1:
        raise ValueError("lengths: expected at least one sequence, each of one step or more")
    if any(later > earlier for earlier, later in pairwise(lengths_descending)):
        raise ValueError("lengths: expected longest first")
    every_size = torch.arange(len(lengths_descending), 0, -1)
    lengths = torch.tensor([0, *reversed(lengths_descending)])
    return torch.repeat_interleave(every_size, lengths.diff())


def lengths_of(batch_sizes: Sequence[int]) -> tuple[int, ...]:
    """The length in steps of each sequence, longest first: the inverse of `batch_sizes_of`."""
    # A sequence ends with the first step that has no more rows than sequences come before it.
    return tuple(bisect_left(batch_sizes, -before, key=neg) for before in range(batch_sizes[0]))


def steps_of(batch_sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """For each step its first packed row and how many rows it has."""
    start = 0
    for size in batch_sizes:
        yield start, size
        start += size


def steps_backwards_of(batch_sizes: Sequence[int], rows: int) -> Iterator[tuple[int, int]]:
    """The same from the last step of `rows` packed rows to the first."""
    start = rows
    for size in reversed(batch_sizes):
        start -= size
        yield start, size


def pack(sequences: Sequence[Tensor]) -> Packed:
    """Pack sequences, each (T_i, F) or (T_i,), that are sorted longest first."""
    batch_sizes = batch_sizes_of([sequence.shape[0] for sequence in sequences])
    rows = [sequences[row][step] for step, size in enumerate(batch_sizes) for row in range(size)]
    return Packed(data=torch.stack(rows), batch_sizes=batch_sizes)


def unpack(packed: Packed) -> list[Tensor]:
    """The sequences of a packed batch, longest first, each (T_i, F) or (T_i,)."""
    starts = [start for start, _ in steps_of(packed.batch_sizes)]
    return [
        packed.data[torch.tensor([starts[step] + row for step in range(length)], device=packed.data.device)]
        for row, length in enumerate(lengths_of(packed.batch_sizes))
    ]
