"""Which waiting documents make the next batch: the oldest, and those nearest to it in length.

Similar lengths keep a batch wide to its end. The oldest document is always part of the next batch, so none
waits for longer than the batches made of those before it.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineBatching:
    """How documents are batched.

    `batch_tokens` bounds documents times the longest one's steps, except for a document that is longer by
    itself; `window_documents` bounds how many of a model's waiting documents are looked at, first come first.
    """

    batch_tokens: int = 65_536
    max_batch_documents: int = 128
    window_documents: int = 4_096

    def __post_init__(self) -> None:
        for name in ("batch_tokens", "max_batch_documents", "window_documents"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")


_FEW = 64


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Item]):
    arrival: int
    steps: int
    item: Item


class WaitingDocuments(Generic[Item]):
    """The waiting documents of one model. Adding, taking and expiring cost microseconds at any fill.

    `arrival` numbers only ever grow; models may share them, to tell whose oldest document came first.
    """

    def __init__(self, batching: OfflineBatching) -> None:
        self._batching = batching
        self._window: OrderedDict[int, _Waiting[Item]] = OrderedDict()
        self._behind: OrderedDict[int, _Waiting[Item]] = OrderedDict()
        self._by_length: list[tuple[int, int]] = []  # (steps, arrival) of the window
        # A heap of (seconds, arrival); documents that were taken since are still among them.
        self._deadlines: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._window) + len(self._behind)

    @property
    def oldest_arrival(self) -> int | None:
        """The arrival number of the document that has waited longest; absent when none waits."""
        return next(iter(self._window), None)

    def add(self, item: Item, *, arrival: int, steps: int, deadline_seconds: float | None) -> None:
        """Takes a document of `steps` steps, at least 1."""
        assert steps >= 1, "documents without steps are refused before they get here"
        self._behind[arrival] = _Waiting(arrival, steps, item)
        if deadline_seconds is not None:
            heapq.heappush(self._deadlines, (deadline_seconds, arrival))
            self._forget_taken()
        self._fill_window()

    def take_batch(self) -> list[Item]:
        """Removes and returns the next batch, longest first; empty when none waits."""
        arrival = self.oldest_arrival
        if arrival is None:
            return []
        first, end = self._neighbours(bisect_left(self._by_length, (self._window[arrival].steps, arrival)))
        chosen = [self._window.pop(arrival).item for _, arrival in reversed(self._by_length[first:end])]
        del self._by_length[first:end]
        self._fill_window()
        return chosen

    def take_expired(self, now_seconds: float) -> list[Item]:
        """Removes and returns the documents whose deadline has passed."""
        expired: list[Item] = []
        while self._deadlines and self._deadlines[0][0] <= now_seconds:
            _, arrival = heapq.heappop(self._deadlines)
            waiting = self._behind.pop(arrival, None)
            if waiting is None and (waiting := self._window.pop(arrival, None)) is not None:
                del self._by_length[bisect_left(self._by_length, (waiting.steps, arrival))]
            if waiting is not None:
                expired.append(waiting.item)
        self._fill_window()
        return expired

    def take_all(self) -> list[Item]:
        """Removes and returns everything, oldest first."""
        everything = [waiting.item for part in (self._window, self._behind) for waiting in part.values()]
        for collection in (self._window, self._behind, self._by_length, self._deadlines):
            collection.clear()
        return everything

    def _forget_taken(self) -> None:
        """Keeps the heap as small as what waits: under a steady load most of its documents were taken long ago."""
        if len(self._deadlines) > 2 * len(self) + _FEW:
            self._deadlines = [
                entry for entry in self._deadlines if entry[1] in self._window or entry[1] in self._behind
            ]
            heapq.heapify(self._deadlines)

    def _neighbours(self, anchor: int) -> tuple[int, int]:
        """The range around `anchor` that fits the limits, each time grown to the side nearer in length."""
        by_length, limits = self._by_length, self._batching
        first, end = anchor, anchor + 1
        anchor_steps = by_length[anchor][0]
        while end - first < limits.max_batch_documents:
            affordable_steps = limits.batch_tokens // (end - first + 1)
            if by_length[end - 1][0] > affordable_steps:
                break
            longer = by_length[end][0] if end < len(by_length) else None
            if longer is not None and longer > affordable_steps:
                longer = None
            shorter = by_length[first - 1][0] if first > 0 else None
            # By ratio, not by difference: 100 and 200 steps make a worse batch than 900 and 1000.
            if longer is not None and (shorter is None or longer * shorter <= anchor_steps * anchor_steps):
                end += 1
            elif shorter is not None:
                first -= 1
            else:
                break
        return first, end

    def _fill_window(self) -> None:
        while self._behind and len(self._window) < self._batching.window_documents:
            arrival, waiting = self._behind.popitem(last=False)
            self._window[arrival] = waiting
            insort(self._by_length, (waiting.steps, arrival))
        if not self._window:
            self._deadlines.clear()
