"""A packed batch of whole sequences, as those see it who read it in either direction."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from gatehouse_server.network.layer_spec import Direction
from gatehouse_server.network.packing import (
    check_batch_sizes,
    lengths_of,
    running_of,
    steps_backwards_of,
    steps_of,
)


class Batch:
    """The steps of B sequences, longest first, packed in N rows (see `packing`)."""

    def __init__(self, batch_sizes: Sequence[int], rows: int, device: torch.device) -> None:
        """Raises ValueError unless the batch sizes are positive, never grow, and add up to `rows`."""
        check_batch_sizes(batch_sizes, rows)
        self.sizes = tuple(batch_sizes)
        self.rows = rows
        self._device = device

    def steps(self, direction: Direction) -> Iterator[tuple[int, int]]:
        """For each step, in the order they are read, its first packed row and how many rows it has."""
        return steps_of(self.sizes) if direction == "forward" else steps_backwards_of(self.sizes, self.rows)

    @cached_property
    def lengths(self) -> Tensor:
        """Of each sequence in steps (B,) int64, on the device."""
        return torch.tensor(lengths_of(self.sizes), device=self._device)

    @cached_property
    def host_sizes(self) -> Tensor:
        """Rows of each step (T,) int64, on the host, where torch's fused kernels want them."""
        return running_of(lengths_of(self.sizes))

    @cached_property
    def reversal(self) -> Tensor:
        """(N,) int64: where the packed rows come from if each sequence is turned around by itself.

        A sequence keeps its length and so its place, so the turned sequences are packed by the same sizes. Turned
        twice they are as they were: the same numbers tell where the rows of the turned batch belong.
        """
        sizes = self.host_sizes.to(self._device)
        starts = sizes.cumsum(0) - sizes
        every_step = torch.arange(len(self.sizes), device=self._device)
        steps = torch.repeat_interleave(every_step, sizes, output_size=self.rows)
        sequences = torch.arange(self.rows, device=self._device) - starts[steps]
        return starts[self.lengths[sequences] - 1 - steps] + sequences
