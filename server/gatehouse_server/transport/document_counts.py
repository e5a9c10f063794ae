"""What metrics, and the trace of a call, are told of its documents once their results are there."""

from __future__ import annotations

from collections.abc import Iterable

from gatehouse_server.telemetry.call_trace import current_trace
from gatehouse_server.telemetry.request_metrics import Finished
from gatehouse_server.transport.document_services import Services
from gatehouse_server.transport.document_trace import Computed, DocumentTrace


class DocumentCounts:
    """Belongs to one call. `parts` as for DocumentTrace."""

    def __init__(self, services: Services, *, parts: bool) -> None:
        self._clock = services.engine.clock
        self._metrics = services.metrics
        trace = current_trace()
        self._trace = None if trace is None else DocumentTrace(trace, parts=parts)
        self._finished: list[Finished] = []
        self._told_first = False

    def computed(self) -> float:
        """An answer has come: the moment, which `told` wants to know, in seconds; 0 where nobody looks at it."""
        return 0.0 if self._trace is None else self._clock()

    def told(
        self, code: str, answer: Computed | None, *, received_seconds: float, computed_seconds: float
    ) -> None:
        """The result of a document is there, with the name of its code and what was computed if that is OK."""
        now_seconds = self._clock()
        seconds = now_seconds - received_seconds
        self._finished.append(("document", code, seconds))
        if not self._told_first:
            self._told_first = True
            self._metrics.first_result("document", seconds)
        if self._trace is not None:
            self._trace.answered(
                answer if code == "OK" else None,
                received_seconds=received_seconds,
                computed_seconds=computed_seconds,
                told_seconds=now_seconds,
            )

    def flush(self) -> None:
        """All results of a batch are there."""
        if self._finished:
            self._metrics.operations(self._finished)
            self._finished.clear()

    def too_late(self, received_seconds: Iterable[float]) -> None:
        """The call's deadline has passed without results for the documents that came at these times."""
        now_seconds = self._clock()
        self._metrics.operations(
            [("document", "DEADLINE_EXCEEDED", now_seconds - each) for each in received_seconds]
        )

    def end(self) -> None:
        """Nobody reads results any more."""
        if self._trace is not None:
            self._trace.end()
