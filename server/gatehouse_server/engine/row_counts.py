"""Tiles have few numbers of rows: a library that compiles a program for each number has few to compile.

oneDNN takes about a millisecond and half a megabyte for each number of rows that a product meets. A server whose ticks
have any number would wait and grow again and again in its first hours.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]


@cache
def places_of(rows: int) -> Places | None:
    """Where in a tile of so many rows those come from that are computed for it; None: they are its rows.

    Up to 16 rows are computed as they are. More are filled up with the last one, to a multiple of 4 up to 64 rows, of 8
    above: 6 % more for 17 to 32 rows on average, less for others.
    """
    step = 1 if rows <= 16 else 4 if rows <= 64 else 8
    computed = -(-rows // step) * step
    return None if computed == rows else np.minimum(np.arange(computed), rows - 1)
