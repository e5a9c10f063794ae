"""What an operation can wait for. An operation is a generator: it yields steps, and is resumed when each is done."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from gatehouse_server.engine.job import Job


class Wait(Enum):
    """Something that comes by itself."""

    FOR_ROOM = "room for one more live session"
    FOR_A_TURN = "the engine's next turn: everybody else's ticks come before the next piece of slow work"


@dataclass(frozen=True, slots=True)
class StoreStep:
    """Something that the state store does. `begin` is given what to call with the result, or with the failure.

    The operation is resumed with the result, or with StoreUnavailable. `changes` tells that something may be stored
    of the operation from then on, even if nobody waits for that any more.
    """

    begin: Callable[[Callable[[object], None]], None]
    changes: bool = False


Step = Job | StoreStep | Wait

R = TypeVar("R")

Running = Generator[Step, Any, R]
