"""What the C library's allocator has given out: memory that Python's own tools do not see."""

from __future__ import annotations

import ctypes
import gc

import pytest

_FIELDS = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _Mallinfo2(ctypes.Structure):
    """See `man mallinfo2`."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


def allocated_bytes() -> int:
    """Bytes in use, after garbage was collected. Skips the test where the C library (not glibc) cannot tell."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        pytest.skip("this C library does not tell what it has allocated (mallinfo2, glibc 2.33)")
    mallinfo2.restype = _Mallinfo2
    gc.collect()
    told = mallinfo2()
    return int(told.uordblks + told.hblkhd)
