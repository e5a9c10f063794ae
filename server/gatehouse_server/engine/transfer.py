"""Arrays that travel together: they lie one after the other on both sides, so that one copy moves all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_ALIGNMENT_BYTES = 64
_NUMPY_TYPES = {
    torch.bool: np.bool_,
    torch.float32: np.float32,
    torch.int32: np.int32,
    torch.int64: np.int64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One of the arrays."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """What it takes, up to where the next one begins."""
        count = self.dtype.itemsize
        for size in self.shape:
            count *= size
        return -(-count // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


class Transfer:
    """The same fields on the host, as `host` arrays, and on the device, as `device` tensors. Neither ever moves."""

    def __init__(
        self, fields: Sequence[Field], device: torch.device, host_bytes: Callable[[int], Tensor]
    ) -> None:
        """`host_bytes` makes memory that a device can copy from without waiting, (count,) uint8."""
        total = sum(field.bytes for field in fields)
        self._host = host_bytes(total)
        self._device = torch.zeros(total, dtype=torch.uint8, device=device)
        self.host: dict[str, np.ndarray] = {}
        self.device: dict[str, Tensor] = {}
        begin = 0
        for field in fields:
            end = begin + field.bytes
            count = int(np.prod(field.shape, dtype=np.int64))
            raw = self._host.numpy()[begin : begin + count * field.dtype.itemsize]
            self.host[field.name] = raw.view(_NUMPY_TYPES[field.dtype]).reshape(field.shape)
            on_device = self._device[begin : begin + count * field.dtype.itemsize]
            self.device[field.name] = on_device.view(field.dtype).view(field.shape)
            begin = end

    def send(self) -> None:
        """From the host to the device. The host's side must not be written to before the device is waited for."""
        self._device.copy_(self._host, non_blocking=True)

    def fetch(self) -> None:
        """From the device to the host, there when the device is waited for."""
        self._host.copy_(self._device, non_blocking=True)
