"""Scratch memory that is kept between calls.

Tensors above the allocator's threshold are page-faulted anew whenever they are allocated, which halves the
speed of large batches. A workspace grows on demand and never shrinks.
"""

import torch
from torch import Tensor


class Workspace:
    """Named float32 buffers. A buffer's content is valid until the same name is taken again.

    Not safe for use by two threads at once.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffers: dict[str, Tensor] = {}

    @property
    def bytes(self) -> int:
        """Bytes held by all buffers."""
        return sum(buffer.nbytes for buffer in self._buffers.values())

    def take(self, name: str, rows: int, width: int) -> Tensor:
        """A contiguous (rows, width) tensor. Its content is whatever was left there, zeros at first."""
        needed = rows * width
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < needed:
            buffer = torch.zeros(needed, dtype=torch.float32, device=self._device)
            self._buffers[name] = buffer
        return buffer[:needed].view(rows, width)
