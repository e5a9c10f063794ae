"""What the span of a call is told of its documents: of all together, and of one each so often. However many they are,
the span stays small.
"""

from __future__ import annotations

import math
from typing import Protocol

from gatehouse_server.telemetry.call_trace import CallTrace, Stage


class Computed(Protocol):
    """What the engine answers of a document. `compute_seconds` are those of its batch, other work left out."""

    @property
    def step_count(self) -> int: ...
    @property
    def queue_seconds(self) -> float: ...
    @property
    def compute_seconds(self) -> float: ...


class DocumentTrace:
    """Made for calls that are traced, and only for those. `parts`: single documents get spans, too."""

    def __init__(self, trace: CallTrace, *, parts: bool) -> None:
        self._trace = trace
        self._parts = parts
        self._documents = self._failed = self._steps = 0
        self._received_seconds = self._began_seconds = math.inf
        self._computed_seconds = 0.0

    def answered(
        self,
        document: Computed | None,
        *,
        received_seconds: float,
        computed_seconds: float,
        told_seconds: float,
    ) -> None:
        """A document was read, computed and put into words at these times; None for one that failed."""
        self._documents += 1
        if document is None:
            self._failed += 1
            return
        began_seconds = received_seconds + document.queue_seconds
        self._steps += document.step_count
        self._received_seconds = min(self._received_seconds, received_seconds)
        self._began_seconds = min(self._began_seconds, began_seconds)
        self._computed_seconds = max(self._computed_seconds, computed_seconds)
        if self._parts:
            stages = (
                Stage("queue", received_seconds),
                Stage("batch", began_seconds, {"compute_seconds": document.compute_seconds}),
                Stage("publish", computed_seconds),
            )
            self._trace.part("document", stages, told_seconds, {"steps": document.step_count})

    def end(self) -> None:
        """No more are answered."""
        computed = self._documents > self._failed
        stages = (
            Stage("queue", self._received_seconds),
            Stage("batch", self._began_seconds),
            Stage("publish", self._computed_seconds),
        )
        self._trace.stages(
            stages if computed else (),
            {"documents": self._documents, "failed_documents": self._failed, "steps": self._steps},
        )
