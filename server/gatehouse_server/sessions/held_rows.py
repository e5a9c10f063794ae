"""Rows of the state table in the hands of one operation."""

from __future__ import annotations

from gatehouse_server.engine.rows import RowPool


class HeldRows:
    """Rows that an operation holds; what is not handed over is given back when the operation ends."""

    __slots__ = ("_held", "_pool")

    def __init__(self, pool: RowPool) -> None:
        self._pool = pool
        self._held: list[int] = []

    def take(self) -> int:
        """A free row."""
        row = self._pool.take()
        self._held.append(row)
        return row

    def share(self, row: int) -> int:
        """One more hold on a row."""
        self._held.append(self._pool.share(row))
        return row

    def hand_over(self, row: int) -> int:
        """The row is now somebody else's to give back."""
        self._held.remove(row)
        return row

    def give_back(self, row: int) -> None:
        """The row is not needed any more."""
        self._pool.release(self.hand_over(row))

    def __enter__(self) -> HeldRows:
        return self

    def __exit__(self, *failure: object) -> None:
        while self._held:
            self._pool.release(self._held.pop())
