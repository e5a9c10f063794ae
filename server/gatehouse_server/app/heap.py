"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def return_free_memory() -> None:
    """Gives back what the C library's allocator kept of freed memory; nothing where it cannot.

    Each thread that loads a model allocates from a heap of its own, and glibc keeps most of what becomes free there: a
    server whose models are replaced now and then would hold a quarter more than it uses. Other threads that allocate
    wait meanwhile, for tens of milliseconds where sessions are many: it is for rare moments. Source: `man malloc_trim`.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """glibc's function; other C libraries have none."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
