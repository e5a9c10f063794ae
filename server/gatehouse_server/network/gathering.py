"""Outputs of steps as they come about, gathered until there are enough of them for one matrix product."""

from collections.abc import Callable, Generator

import torch
from torch import Tensor

Rows = slice | Tensor
"""Of a packed batch: consecutive ones, or (n,) int64 in any order."""
Take = Callable[[Tensor, Tensor], Generator[None, None, None]]
"""Takes packed rows (n,) int64, in any order, and their outputs (n, R), both on the device and its own to keep. It
yields wherever the network may be used for something else.
"""


class Gathering:
    """Gives outputs on, `rows_at_once` of them at a time; the last time what is left."""

    def __init__(self, take: Take, rows_at_once: int, device: torch.device) -> None:
        self._take = take
        self._rows_at_once = rows_at_once
        self._device = device
        self._rows: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._count = 0

    def add(self, rows: Rows, outputs: Tensor) -> None:
        """Keeps outputs (n, R), which stay as they are."""
        if isinstance(rows, slice):
            rows = torch.arange(rows.start, rows.stop, device=self._device)
        self._rows.append(rows)
        self._outputs.append(outputs)
        self._count += len(rows)

    def give(self) -> Generator[None, None, None]:
        """Gives on what is enough."""
        if self._count >= self._rows_at_once:
            yield from self._give(self._count - self._count % self._rows_at_once)

    def give_rest(self) -> Generator[None, None, None]:
        """Gives on everything: no more outputs come."""
        if self._count:
            yield from self._give(self._count)

    def _give(self, count: int) -> Generator[None, None, None]:
        rows, outputs = torch.cat(self._rows), torch.cat(self._outputs)
        self._rows, self._outputs, self._count = [rows[count:]], [outputs[count:]], self._count - count
        for start in range(0, count, self._rows_at_once):
            end = min(start + self._rows_at_once, count)
            yield from self._take(rows[start:end], outputs[start:end])
