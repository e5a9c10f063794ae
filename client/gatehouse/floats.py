"""Packed float32 values of messages, as they are, without a copy."""

from __future__ import annotations

import sys
from array import array


def floats(packed: bytes) -> memoryview[float]:
    """Little-endian float32 values, (N,)."""
    return memoryview(_native(packed)).cast("f")


def float_matrix(packed: bytes, width: int) -> memoryview[float]:
    """The same row by row, (N / width, width). ValueError unless they are whole rows of at least one value."""
    if width < 1 or not packed or len(packed) % (4 * width):
        raise ValueError(f"{len(packed)} bytes are not rows of {width} float32 values")
    return memoryview(_native(packed)).cast("f", (len(packed) // (4 * width), width))


def _native(packed: bytes) -> bytes:
    if sys.byteorder == "little":
        return packed
    swapped = array("f", packed)
    swapped.byteswap()
    return swapped.tobytes()
