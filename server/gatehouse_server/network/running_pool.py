"""Pooling while the steps come, in either direction, so that no step needs to be kept."""

from collections.abc import Sequence

import torch
from torch import Tensor


class RunningPool:
    """The last step, the mean or the maximum of B sequences, longest first, over `width` numbers a step."""

    def __init__(
        self, kinds: Sequence[str], lengths: Sequence[int], width: int, device: torch.device
    ) -> None:
        """`kinds` as in `NetworkSpec`, `lengths` in steps, descending."""
        self._kinds = tuple(kinds)
        shape = (len(lengths), width)
        self._total = torch.zeros(shape, device=device) if "mean" in kinds else None
        self._most = torch.full(shape, -torch.inf, device=device) if "max" in kinds else None
        self._lengths = torch.tensor(lengths, dtype=torch.float32, device=device)

    def add(self, start: int, h: Tensor) -> None:
        """Takes a step h (n, width) of the n longest sequences. `start`, its packed row, does not matter."""
        rows = h.shape[0]
        if self._total is not None:
            self._total[:rows].add_(h)
        if self._most is not None:
            most = self._most[:rows]
            torch.maximum(most, h, out=most)

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
