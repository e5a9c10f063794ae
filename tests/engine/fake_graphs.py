"""Stand-ins for a GPU's graphs on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = ("aten::item", "aten::is_nonzero", "aten::equal", "aten::nonzero", "aten::masked_select")
"""Operators whose results the host has to look at: a GPU refuses them in a capture."""


class RepeatingGraphs:
    """Runs the function again: tests what is staged, and nothing about what may be captured."""

    def __init__(self) -> None:
        self.waits = 0

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """Runs the function once, and gives it back."""
        function()
        return function

    def host_bytes(self, count: int) -> Tensor:
        """Memory full of what is no number, or a large one, wherever nobody has written."""
        return torch.full((count,), 255, dtype=torch.uint8)

    def wait(self) -> None:
        """There is nothing to wait for."""
        self.waits += 1


class ReplayingGraphs(RepeatingGraphs):
    """Does what a CUDA graph does: the operators of the capture again, on the very memory they had then, without any
    of the Python between them. An operator that the host would have to wait for is refused.
    """

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """See `Graphs`."""
        function()
        with _Capture() as capture:
            function()
        replay: Callable[[], None] = capture.replay
        return replay


class _Capture(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, Sequence[Any], dict[str, Any], list[Tensor]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func._schema.name in WAITING:
            raise RuntimeError(f"{func._schema.name} cannot be captured: the host would have to wait for it")
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self._calls.append((func, args, kwargs, _tensors(result)))
        return result

    def replay(self) -> None:
        """New results go where the captured ones lie; views and changes in place are there already."""
        for func, args, kwargs, captured in self._calls:
            for place, value in zip(captured, _tensors(func(*args, **kwargs)), strict=True):
                if value.data_ptr() != place.data_ptr() or value.dtype != place.dtype:
                    place.copy_(value)


def _tensors(result: Any) -> list[Tensor]:
    values = result if isinstance(result, list | tuple) else [result]
    return [value for value in values if isinstance(value, Tensor)]
