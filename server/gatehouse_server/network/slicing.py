"""How many steps a device is given at once, so that it is free again after about a millisecond."""

from collections.abc import Callable, Sequence

_SLICE_SECONDS = 0.001
_LEAST_STEP_ROWS = 256  # up to about so many rows a step takes a GPU no longer than one of a single row
_FIRST_SLICE_ROWS = 8 * _LEAST_STEP_ROWS
_LARGEST_CHANGE = (
    2.0  # from one slice to the next, so that a single slice that was held up does not matter much
)


class Slicing:
    """Cuts a batch into slices of whole consecutive steps, and learns from how long each one took."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._affordable_rows = float(_FIRST_SLICE_ROWS)
        self._rows = 0
        self._began_seconds = 0.0

    def begin(self, sizes: Sequence[int], first: int) -> int:
        """Begins a slice at step `first` of a batch with so many rows in each step: how many steps it has."""
        self._rows = 0
        end = first
        while end < len(sizes):
            rows = self._rows + max(sizes[end], _LEAST_STEP_ROWS)
            if rows > self._affordable_rows and end > first:
                break
            self._rows = rows
            end += 1
        self._began_seconds = self._clock()
        return end - first

    def end(self) -> None:
        """The device is done with the slice.

        What a call takes beside its steps makes short slices seem slow, so one that ended early for want of steps does
        not make the next one shorter, unless it took too long.
        """
        seconds = self._clock() - self._began_seconds
        if seconds > _SLICE_SECONDS:
            change = max(1 / _LARGEST_CHANGE, _SLICE_SECONDS / seconds)
            self._affordable_rows = max(1.0, change * min(self._rows, self._affordable_rows))
        else:
            change = min(_LARGEST_CHANGE, _SLICE_SECONDS / max(seconds, 1e-9))
            self._affordable_rows = max(self._affordable_rows, change * self._rows)
