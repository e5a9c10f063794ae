"""What the engine tells about itself: plain statistics for whoever listens. Called on the engine thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gatehouse_server.engine.value import value


class Happening(StrEnum):
    """Something that is counted."""

    SESSION_CREATED = "session_created"
    SESSION_DELETED = "session_deleted"
    SESSION_EXPIRED = "session_expired"
    SESSION_REBUILT = "session_rebuilt"
    SESSION_FORKED = "session_forked"
    SESSION_IMPORTED = "session_imported"
    SESSION_EVICTED = "session_evicted"
    SESSION_RESTED = "session_rested"
    SESSION_WOKEN = "session_woken"
    SESSION_RECOVERED = "session_recovered"
    SESSION_MOVED = "session_moved"
    WRITE_REPEATED = "write_repeated"
    WRITE_CONFLICTED = "write_conflicted"
    WRITE_BEHIND = "write_behind"
    REWOUND = "rewound"
    DROPPED_DEADLINE = "dropped_deadline"
    DROPPED_CANCELLED = "dropped_cancelled"
    DROPPED_DRAINING = "dropped_draining"
    REFUSED_QUEUE_FULL = "refused_queue_full"
    REFUSED_SESSIONS_FULL = "refused_sessions_full"
    REFUSED_CONTINUATIONS_FULL = "refused_continuations_full"
    CONTINUATION_STOPPED = "continuation_stopped"
    CONTINUATION_AT_LENGTH = "continuation_at_length"
    CONTINUATION_CUT_SHORT = "continuation_cut_short"
    STEP_GENERATED = "step_generated"
    REFUSED_STORE_LAGGING = "refused_store_lagging"


@value
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


@value
class EngineGauges:
    """How many sessions there are and what they take: in the state tables, packed in memory, and known to the store
    (0 without one). `unsaved` sessions have something that the store does not, the oldest for `lag_seconds`.
    `continuations` are the sequences of generations under way. Told once per turn.
    """

    live_sessions: int
    packed_sessions: int
    stored_sessions: int
    sessions_by_model: dict[str, int]
    state_bytes: int
    packed_bytes: int
    unsaved_sessions: int
    lag_seconds: float
    continuations: int = 0


class Observer(Protocol):
    """Listens to the engine."""

    def happened(self, what: Happening, amount: int = 1) -> None:
        """Something countable happened. May be called from any thread."""

    def online_tick(self, tick: OnlineTick) -> None:
        """A tick is over and its answers are on their way."""

    def offline_batch(self, batch: OfflineBatch) -> None:
        """A batch of documents is over."""

    def store_call(self, kind: str, seconds: float, failed: bool) -> None:
        """The state store did something, or failed to. Called on the store's thread."""

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

    def store_call(self, kind: str, seconds: float, failed: bool) -> None:
        """Ignored."""

    def gauges(self, gauges: EngineGauges) -> None:
        """Ignored."""
