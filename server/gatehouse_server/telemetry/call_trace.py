"""What a call tells its trace. Nothing here knows of OpenTelemetry, which is imported only where traces are on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import NamedTuple, Protocol

Metadata = Sequence[tuple[str, str | bytes]]
Facts = Mapping[str, str | int | float]
NO_FACTS: Facts = MappingProxyType({})


class Stage(NamedTuple):
    """A stage of some work, which lasts until the next one begins; the last one lasts until the work ends."""

    name: str
    began_seconds: float
    facts: Facts = NO_FACTS


class Asked(Protocol):
    """An operation of a stream."""

    @property
    def kind(self) -> str | None:
        """`write` or `suggest`; None when it is neither."""

    @property
    def received_seconds(self) -> float:
        """When it was read."""


class CallTrace(Protocol):
    """The span of one call. Times are of the engine's clock."""

    @property
    def trace_id(self) -> str:
        """The trace's number, 32 hexadecimal digits."""

    def answered(self, outcome: object, received_seconds: float) -> None:
        """The engine answered the one operation of the call: the span gets its stages."""

    def operations(self, answers: Iterable[tuple[Asked, object]], answered_seconds: float) -> None:
        """Operations of a stream were answered: those of them that are due get spans of their own."""

    def stages(self, stages: Sequence[Stage], facts: Facts) -> None:
        """The stages of the call as a whole, and what is to be known of it."""

    def part(self, name: str, stages: Sequence[Stage], ended_seconds: float, facts: Facts) -> None:
        """Some work for the call has ended: if one is due, it gets a span of its own, from its first stage on."""

    def end(self, code: int, *, is_fault: bool) -> None:
        """The call ended with the status code of this number, which may say that the server is at fault."""


class Traces(Protocol):
    """Makes the spans of calls."""

    def begin(self, method: str, metadata: Metadata | None) -> CallTrace | None:
        """The span of a call to `package.Service/Method`; None when it is not sampled."""


_CURRENT: ContextVar[CallTrace | None] = ContextVar("gatehouse_call_trace", default=None)


def current_trace() -> CallTrace | None:
    """The span of the call that this task answers, if there is one that is sampled."""
    return _CURRENT.get()


def set_current_trace(trace: CallTrace | None) -> None:
    """For the rest of this task, which is one call's."""
    _CURRENT.set(trace)
