"""Several tiles of a tick beside each other, each on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

from gatehouse_server.engine.programs import Programs

_LEAST_ROWS = 16
"""Fewer rows are not worth the way to another thread, and share the reading of the weights."""

T = TypeVar("T")


class TileWorkers:
    """One thread for each of the programs, the caller's own among them."""

    def __init__(self, programs: Sequence[Programs]) -> None:
        self._programs = programs
        self._pool = self._make_pool() if len(programs) > 1 else None

    def map(self, rows: int, compute: Callable[[Programs, int, int], T]) -> list[T]:
        """`compute(programs, begin, end)` for tiles of so many rows, in order."""
        tiles = self._cut(rows)
        if self._pool is None or len(tiles) == 1:
            return [compute(self._programs[0], begin, end) for begin, end in tiles]
        count = len(self._programs)
        try:
            others = [
                self._pool.submit(self._run, worker, tiles[worker::count], compute)
                for worker in range(1, count)
            ]
        except BaseException:
            # A thread could not be started, and its work lies in the pool: a later tick's thread would do it.
            self._pool.shutdown(cancel_futures=True)
            self._pool = self._make_pool()
            raise
        try:
            own = self._run(0, tiles[::count], compute)
        finally:
            wait(others)  # a tick that failed must not go on writing states: its rows are given to others
        shares = [own, *(other.result() for other in others)]
        return [shares[number % count][number // count] for number in range(len(tiles))]

    def _make_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(len(self._programs) - 1, thread_name_prefix="gatehouse-tile")

    def _run(
        self, worker: int, tiles: Sequence[tuple[int, int]], compute: Callable[[Programs, int, int], T]
    ) -> list[T]:
        with torch.inference_mode():  # a mode of the thread's own
            return [compute(self._programs[worker], begin, end) for begin, end in tiles]

    def _cut(self, rows: int) -> list[tuple[int, int]]:
        """Tiles of about the same size, as many for each worker."""
        workers = max(1, min(len(self._programs), rows // _LEAST_ROWS))
        rounds = -(-rows // (workers * self._programs[0].tile_rows))
        count = workers * rounds
        return [(rows * number // count, rows * (number + 1) // count) for number in range(count)]
