"""What it took to keep a session going."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumptions:
    """Counts over the life of one session object.

    `interruptions` are attempts that brought no answer and were made again, `resumed` the writes for which the
    server first had to be brought up to date, `replayed_writes` the earlier writes that were sent anew for that.
    """

    interruptions: int = 0
    resumed: int = 0
    replayed_writes: int = 0
