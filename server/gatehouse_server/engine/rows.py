"""Rows of the state table: which are free, and how many holders each has."""

from __future__ import annotations

INITIAL_ROW = 0
"""The row that holds the model's initial state. It belongs to nobody and is never written."""


class RowPool:
    """Hands out the rows 1 to `capacity` of a state table. Rows are counted: a row is free when its last holder let go.

    A state is written once, when its row is taken, and read by any number of holders after that. So a fork, a kept
    state and a current state may be the same row.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._holders = [0] * (capacity + 1)
        self._never_used = 1
        self._freed: list[int] = []

    @property
    def capacity(self) -> int:
        """How many rows there are to hand out."""
        return self._capacity

    @property
    def in_use(self) -> int:
        """How many rows have a holder."""
        return self._never_used - 1 - len(self._freed)

    def take(self) -> int:
        """A free row, now with one holder. The caller sizes the pool so that there always is one."""
        if self._freed:
            row = self._freed.pop()
        else:
            assert self._never_used <= self._capacity, (
                "the state table is sized for every row that sessions may hold"
            )
            row = self._never_used
            self._never_used += 1
        self._holders[row] = 1
        return row

    def share(self, row: int) -> int:
        """One more holder of a row."""
        if row != INITIAL_ROW:
            assert self._holders[row] > 0, "only a held row can be shared"
            self._holders[row] += 1
        return row

    def release(self, row: int) -> None:
        """One holder less."""
        if row == INITIAL_ROW:
            return
        assert self._holders[row] > 0, "a row is released once per holder"
        self._holders[row] -= 1
        if self._holders[row] == 0:
            self._freed.append(row)
