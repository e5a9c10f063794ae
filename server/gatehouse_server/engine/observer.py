"""What the engine tells about itself: plain statistics for whoever listens. Called on the engine thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Happening(StrEnum):
    """Something that is counted."""

    SESSION_CREATED = "session_created"
    SESSION_DELETED = "session_deleted"
    SESSION_EXPIRED = "session_expired"
    SESSION_REBUILT = "session_rebuilt"
    WRITE_REPEATED = "write_repeated"
    WRITE_CONFLICTED = "write_conflicted"
    WRITE_BEHIND = "write_behind"
    REWOUND = "rewound"
    DROPPED_DEADLINE = "dropped_deadline"
    DROPPED_CANCELLED = "dropped_cancelled"
    DROPPED_DRAINING = "dropped_draining"
    REFUSED_QUEUE_FULL = "refused_queue_full"
    REFUSED_SESSIONS_FULL = "refused_sessions_full"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineTick:
    """One pass over the sessions of a model that had work.

    `sessions` rows took part with `steps` steps in all; `outputs` rows went through the head. The three spans
    follow each other. `queue_seconds` holds the wait of each operation that began in this tick.
    """

    model: str
    sessions: int
    steps: int
    outputs: int
    form_seconds: float
    compute_seconds: float
    publish_seconds: float
    queue_seconds: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineBatch:
    """One batch of whole documents. `computed_steps` counts padding too; the useful ones are `steps`."""

    model: str
    documents: int
    steps: int
    computed_steps: int
    form_seconds: float
    compute_seconds: float
    queue_seconds: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineGauges:
    """How many sessions there are, and what their states take in the state tables. Told once per turn."""

    sessions: int
    sessions_by_model: dict[str, int]
    state_bytes: int


class Observer(Protocol):
    """Listens to the engine."""

    def happened(self, what: Happening, amount: int = 1) -> None:
        """Something countable happened. May be called from any thread."""

    def online_tick(self, tick: OnlineTick) -> None:
        """A tick is over and its answers are on their way."""

    def offline_batch(self, batch: OfflineBatch) -> None:
        """A batch of documents is over."""

    def gauges(self, gauges: EngineGauges) -> None:
        """The present fill."""


class SilentObserver:
    """Listens to nothing; for in-process use and tests."""

    def happened(self, what: Happening, amount: int = 1) -> None:
        """Ignored."""

    def online_tick(self, tick: OnlineTick) -> None:
        """Ignored."""

    def offline_batch(self, batch: OfflineBatch) -> None:
        """Ignored."""

    def gauges(self, gauges: EngineGauges) -> None:
        """Ignored."""
