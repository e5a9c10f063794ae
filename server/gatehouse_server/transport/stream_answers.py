"""What the engine answered to the operations of a stream, put into words and counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from gatehouse.v1 import online_pb2

from gatehouse_server.errors import StateBehind
from gatehouse_server.sessions.results import SuggestResult, WriteResult
from gatehouse_server.telemetry.call_trace import CallTrace
from gatehouse_server.telemetry.request_metrics import Operation, RequestMetrics
from gatehouse_server.transport.encoding import fill_suggest_result, fill_write_result, weight_bytes
from gatehouse_server.transport.outbox import Outbox
from gatehouse_server.transport.status import fill_status
from gatehouse_server.transport.turned_away import TurnedAway

_NO_TIME = (0.0, 0.0)


class Asked(NamedTuple):
    """An operation that was read: what is needed to answer it. A tuple, since one is made for each step.

    `most_bytes` is what its answer may take, 0 where that is little.
    """

    tag: int
    kind: str | None
    session_id: str
    place: int
    received_seconds: float
    most_bytes: int


class StreamAnswers:
    """Puts the answers of one stream into the messages of its outbox."""

    def __init__(
        self,
        outbox: Outbox[online_pb2.StreamResponse],
        *,
        clock: Callable[[], float],
        metrics: RequestMetrics,
        trace: CallTrace | None,
        turned_away: TurnedAway,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._metrics = metrics
        self._trace = trace
        self._turned_away = turned_away

    def put(self, answers: list[tuple[Asked, object]]) -> None:
        """Puts the answers of a tick into words. What is the same for all of them, the time, is looked at once."""
        now_seconds, now_unix_seconds = self._clock(), time.time()
        message_for = self._outbox.message_for
        message, add = None, None
        seconds: dict[tuple[Operation, str], list[float]] = {}
        spent: dict[Operation, tuple[float, float]] = {}
        for asked, outcome in answers:
            place = message_for(weight_bytes(outcome))
            if place is not message or add is None:
                message, add = place, place.results.add
            code = self._fill(add(), asked, outcome, now_unix_seconds)
            kind: Operation = "write" if asked.kind == "write" else "suggest"
            spans = seconds.get((kind, code))
            if spans is None:
                spans = seconds[kind, code] = []
            spans.append(now_seconds - asked.received_seconds)
            if code == "OK":
                timing = outcome.timing  # type: ignore[attr-defined]  # what succeeds has one
                queue, compute = spent.get(kind, _NO_TIME)
                spent[kind] = queue + timing.queue_seconds, compute + timing.compute_seconds
        for (kind, code), spans in seconds.items():
            self._metrics.answered(kind, code, spans, spent.get(kind) if code == "OK" else None)
        if self._trace is not None:
            self._trace.operations(answers, now_seconds)

    def _fill(
        self, result: online_pb2.StreamResult, asked: Asked, outcome: object, now_unix_seconds: float
    ) -> str:
        """Puts one answer into words, and returns the name of its code."""
        result.tag = asked.tag
        try:
            if isinstance(outcome, WriteResult):
                fill_write_result(result.write, outcome, now_unix_seconds)
                return "OK"
            if isinstance(outcome, SuggestResult):
                fill_suggest_result(result.suggest, outcome, now_unix_seconds)
                return "OK"
            if isinstance(outcome, BaseException):
                if isinstance(outcome, StateBehind):
                    outcome = self._turned_away.explained(asked.session_id, outcome)
                field = (
                    f"operations[{asked.place}].{asked.kind}."
                    if asked.kind
                    else f"operations[{asked.place}]."
                )
                return fill_status(result.status, outcome, path=field)
            raise TypeError(f"the engine answered {type(outcome).__name__}")
        except Exception as error:  # one result that cannot be put into words must not cost the stream
            result.Clear()
            result.tag = asked.tag
            return fill_status(result.status, error)
