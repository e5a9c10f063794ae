"""What became of models while a server served."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """A model, `name@version`.

    `change` is `loaded`, `replaced`, `unloaded`, `unchanged`, `failed` (its folder has a defect, and what was served of
    it before is served on) or `kept` (its folder is gone, and the server must not be without it). `fingerprint` is that
    of the content that is served from now on, empty without one; `leaving_sessions` in memory go on with what is
    leaving; `problem` is one line.
    """

    model: str
    change: str
    fingerprint: str
    problem: str
    leaving_sessions: int
    load_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloading:
    """What became of a model that was to be unloaded, and how many sessions were ended for that."""

    change: ModelChange
    evicted_sessions: int
