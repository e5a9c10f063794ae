"""Pooling while the steps come, in either direction, so that no step needs to be kept."""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor


class RunningPool:
    """The last step, the mean or the maximum of B sequences, longest first, over `width` numbers a step."""

    def __init__(self, kinds: Sequence[str], lengths: Tensor, width: int) -> None:
        """`kinds` as in `NetworkSpec`, `lengths` (B,) in steps, descending, on the device where to pool."""
        self._kinds = tuple(kinds)
        shape, device = (len(lengths), width), lengths.device
        self._total = torch.zeros(shape, device=device) if "mean" in kinds else None
        self._most = torch.full(shape, -torch.inf, device=device) if "max" in kinds else None
        self._lengths = lengths.float()

    def add(self, h: Tensor, sizes: Sequence[int]) -> None:
        """Takes steps h (sum of sizes, width), one after the other: each is of the longest sequences, so many.

        A step by itself is added as it is. Of several, those of as many sequences are joined first, which changes
        last bits, and takes one call where there would be many.
        """
        if len(sizes) == 1:
            self._add(h, h)
            return
        first = 0
        for rows, run in groupby(sizes):
            count = len(list(run))
            steps = h[first : first + count * rows].view(count, rows, -1)
            first += count * rows
            self._add(
                steps.sum(dim=0) if self._total is not None else steps[0],
                steps.amax(dim=0) if self._most is not None else steps[0],
            )

    def _add(self, total: Tensor, most: Tensor) -> None:
        rows = total.shape[0]
        if self._total is not None:
            self._total[:rows].add_(total)
        if self._most is not None:
            mine = self._most[:rows]
            torch.maximum(mine, most, out=mine)

    def result(self, last: Tensor) -> tuple[Tensor, ...]:
        """(B, width) for each kind in its order; `last` is what "last" stands for."""
        return tuple(self._result_of(kind, last) for kind in self._kinds)

    def _result_of(self, kind: str, last: Tensor) -> Tensor:
        if kind == "mean":
            assert self._total is not None
            return self._total / self._lengths.unsqueeze(1)
        if kind == "max":
            assert self._most is not None
            return self._most
        return last
