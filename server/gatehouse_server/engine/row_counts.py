"""Tiles have few numbers of rows: see `gatehouse_server.network.row_counts`."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from gatehouse_server.network.row_counts import computed_rows

Places = npt.NDArray[np.int64]


@cache
def places_of(rows: int) -> Places | None:
    """Where in a tile of so many rows those come from that are computed for it; None: they are its rows.

    It is filled up with its last row.
    """
    computed = computed_rows(rows)
    return None if computed == rows else np.minimum(np.arange(computed), rows - 1)
