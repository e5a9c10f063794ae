"""How long to go on trying, and how long to pause between: the arithmetic that both twins share."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_SHORTEST_ATTEMPT_SECONDS = 1.0
# Some thirty years; what gRPC takes for a time long past is not far above.
_LONGEST_TIMEOUT_SECONDS = 1e9


def pauses() -> Iterator[float]:
    """Seconds to pause before the next attempt: doubling up to a cap, more or less a quarter."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield pause * random.uniform(0.75, 1.25)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def allowed_seconds(timeout_seconds: float) -> float:
    """A timeout as it is. ValueError when it is no deadline: gRPC takes infinity for a time that has passed."""
    if not timeout_seconds <= _LONGEST_TIMEOUT_SECONDS:
        raise ValueError(
            f"a timeout of {timeout_seconds} seconds; there is no call without a deadline, so give one, "
            f"{_LONGEST_TIMEOUT_SECONDS:,.0f} at most"
        )
    return timeout_seconds


class Deadline:
    """A point in time, and how an operation that may be repeated divides what is left until then."""

    def __init__(self, timeout_seconds: float) -> None:
        self._end = time.monotonic() + timeout_seconds

    def remaining_seconds(self) -> float:
        """What is left; 0 once the deadline has passed."""
        return max(0.0, self._end - time.monotonic())

    def attempt_seconds(self) -> float:
        """How long the next attempt may take.

        Half of what is left, so that an attempt whose reply got lost leaves time for another, but not so
        short that a busy server never gets to answer.
        """
        remaining = self.remaining_seconds()
        return min(remaining, max(_SHORTEST_ATTEMPT_SECONDS, remaining / 2))

    def pause_seconds(self, wanted_seconds: float, *, told_seconds: float = 0.0) -> float | None:
        """How long to pause before the next attempt, which is to have its share too; None when it is too
        late.

        `told_seconds` is how long the server told to wait at least. The pause comes on top, so that those who
        were told the same do not come back all at once.
        """
        remaining = self.remaining_seconds() - told_seconds
        return told_seconds + min(wanted_seconds, remaining / 2) if remaining > _FIRST_PAUSE_SECONDS else None
