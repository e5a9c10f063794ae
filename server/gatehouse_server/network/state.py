"""The state of a network: which tensors it consists of, and how wide they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

State = tuple[Tensor, ...]
"""One contiguous float32 tensor (B, width) for each part of the layout, in layout order."""

_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StatePart:
    """One tensor of a state: `name` such as `layer0.c`, `width` in float32 numbers for each sequence."""

    name: str
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLayout:
    """The parts of a state in their order: layer0.h, layer0.c, layer1.h, ...

    `output_part` is the index of the part that is the top layer's output `h`.
    """

    parts: tuple[StatePart, ...]
    output_part: int

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("a state layout needs at least one part")
        if not 0 <= self.output_part < len(self.parts):
            raise ValueError(f"output_part: expected 0..{len(self.parts) - 1}, got {self.output_part}")

    @property
    def width(self) -> int:
        """Numbers of one sequence's state, all parts together."""
        return sum(part.width for part in self.parts)

    @property
    def bytes_per_row(self) -> int:
        """Bytes of one sequence's state in float32."""
        return _FLOAT_BYTES * self.width

    def zeros(self, rows: int, device: torch.device | str = "cpu") -> State:
        """The state before the first step, for `rows` sequences."""
        return tuple(torch.zeros(rows, part.width, dtype=torch.float32, device=device) for part in self.parts)

    def check(self, state: Sequence[Tensor], rows: int) -> None:
        """Raise ValueError unless `state` has all parts, contiguous, for at least `rows` sequences."""
        if len(state) != len(self.parts):
            raise ValueError(f"state: expected {len(self.parts)} parts, got {len(state)}")
        for part, tensor in zip(self.parts, state, strict=True):
            if tensor.dim() != 2 or tensor.shape[0] < rows or tensor.shape[1] != part.width:
                raise ValueError(
                    f"state part {part.name}: expected ({rows} or more, {part.width}), "
                    f"got {tuple(tensor.shape)}"
                )
            if not tensor.is_contiguous():
                raise ValueError(f"state part {part.name}: expected a contiguous tensor")
