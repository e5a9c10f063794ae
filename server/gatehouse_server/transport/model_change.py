"""What became of a model while the server served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Change = Literal["unchanged", "loaded", "replaced", "unloaded", "failed", "kept"]
"""See `ModelChangeKind` of the contract."""

CHANGES: tuple[Change, ...] = get_args(Change)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """One model, `name@version`. `fingerprint` is that of the content that is served from now on, empty without one;
    `leaving_sessions` go on with what is leaving. `problem` is one line, empty when all is well.
    """

    key: str
    change: Change
    fingerprint: str = ""
    problem: str = ""
    leaving_sessions: int = 0
    load_seconds: float = 0.0
