"""How sessions are kept."""

from __future__ import annotations

from dataclasses import dataclass

from gatehouse_server.sessions.results import Durability


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """See the settings of these names."""

    durability: Durability = "none"
    interval_seconds: float = 0.05
    max_lag_seconds: float = 60.0
    keeps_tapes: bool = True
