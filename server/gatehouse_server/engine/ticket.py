"""What the event loop hands to the engine thread, and how the answer finds its way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class ReplySink(Protocol):
    """Takes answers on the event loop's thread. One sink stands for one call or one stream."""

    def add(self, tag: int, outcome: object) -> None:
        """Takes one answer: a result of the operation's kind, or an exception."""

    def flush(self) -> None:
        """Called once after all answers of a tick for this sink were added."""


def _always() -> bool:
    return True


@dataclass(slots=True, eq=False)
class Ticket:
    """One operation on its way to the engine. Nobody changes it; two are the same only if they are one.

    `wanted` tells, on any thread, whether somebody still waits for the answer; work that nobody wants any more is
    dropped before it is computed where that is harmless. `client` tells whose it is: clients share ticks fairly.

    `operation` is a plain frozen object that a lane understands; `tag` comes back with the answer;
    `received_seconds` and `deadline_seconds` are times of the engine's clock, `deadline_seconds` absent for
    work that may wait as long as it takes.
    """

    operation: Any
    sink: ReplySink
    tag: int
    received_seconds: float
    deadline_seconds: float | None = None
    wanted: Callable[[], bool] = _always
    client: str = ""
