"""Scratch memory that is kept between calls.

Tensors above the allocator's threshold are page-faulted anew whenever they are allocated, which halves the
speed of large batches. A workspace grows on demand and never shrinks.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class Workspace:
    """Named float32 buffers, each thread its own. A buffer's content is valid until its name is taken again."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._own = _Own()

    @property
    def bytes(self) -> int:
        """Bytes held by the buffers of this thread."""
        return sum(buffer.nbytes for buffer in self._own.buffers.values())

    def take(self, name: str, rows: int, width: int) -> Tensor:
        """A contiguous (rows, width) tensor. Its content is whatever was left there, zeros at first."""
        own = self._own
        if own.most_rows is not None:
            return self._take_fixed(name, width, own.most_rows)[:rows]
        needed = rows * width
        buffer = own.buffers.get(name)
        if buffer is None or buffer.numel() < needed:
            buffer = torch.zeros(needed, dtype=torch.float32, device=self._device)
            own.buffers[name] = buffer
        return buffer[:needed].view(rows, width)

    @contextmanager
    def apart(self, most_rows: int) -> Iterator[Mapping[str, Tensor]]:
        """Meanwhile buffers are new ones of at most so many rows, which never move and belong to nobody else.

        For what is recorded and run again later, perhaps beside other uses of this workspace: whoever records keeps
        the buffers, which are yielded.
        """
        own = self._own
        kept = own.buffers, own.most_rows
        own.buffers, own.most_rows = {}, most_rows
        try:
            yield own.buffers
        finally:
            own.buffers, own.most_rows = kept

    def _take_fixed(self, name: str, width: int, most_rows: int) -> Tensor:
        key = f"{name} {width}"
        buffer = self._own.buffers.get(key)
        if buffer is None:
            buffer = self._own.buffers[key] = torch.zeros(most_rows, width, device=self._device)
        return buffer


class _Own(threading.local):
    """What belongs to one thread."""

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}
        self.most_rows: int | None = None
