"""How many sessions, how long and how large."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """Bounds of the session table and of each session.

    `max_sessions` counts all sessions that are known, `max_resident_sessions` those in memory when a store has the
    others, `max_live_sessions` those in the state table. `rest_seconds` is after how long without use a session leaves
    the state table, `idle_seconds` after how long it ends; not sooner than `grace_seconds` after the server started.

    `max_continuations` counts the sequences of all generations under way, which have rows of the state table of their
    own. `recent_writes` is how many accepted writes a session can answer again, and so how many a client may leave
    unanswered. `max_output_bytes` keeps the answer to one write within the 4 MiB that gRPC clients take by default.
    `remembered_*` bound the memory
    of lost sessions, which tells an expired one from one that never was.
    """

    max_sessions: int = 1_000_000
    max_live_sessions: int = 10_000
    max_resident_sessions: int = 100_000
    max_continuations: int = 256
    idle_seconds: float = 3600.0
    rest_seconds: float = 60.0
    grace_seconds: float = 300.0
    recent_writes: int = 8
    max_write_steps: int = 4096
    max_tape_steps: int = 1_000_000
    max_output_bytes: int = 3 * 2**20
    remembered_lost_sessions: int = 1_000_000
    remembered_lost_seconds: float = 86_400.0

    def __post_init__(self) -> None:
        for name in (
            "max_sessions",
            "max_live_sessions",
            "max_resident_sessions",
            "max_continuations",
            "recent_writes",
            "max_write_steps",
            "max_tape_steps",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, and has to be at least 1")
        if self.idle_seconds <= 0:
            raise ValueError(f"idle_seconds is {self.idle_seconds}, and has to be positive")

    @property
    def rows_per_session(self) -> int:
        """The most rows of the state table that one session can hold at a time.

        One current state, one before each recent write, and, while an operation runs, a loaded state, a
        restored one, a new one and a provisional one.
        """
        return 1 + self.recent_writes + 4

    @property
    def table_rows(self) -> int:
        """How many rows a state table needs. A continuation has its present state and, in a tick, the next one; before
        its first tick that is the state that the prompt is computed from.
        """
        return self.max_live_sessions * self.rows_per_session + 2 * self.max_continuations
