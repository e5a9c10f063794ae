"""What a span is told of the documents of a call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pytest
from gatehouse_server.engine.documents import DocumentScores
from gatehouse_server.telemetry.call_trace import Asked, Facts, Stage
from gatehouse_server.transport.document_trace import DocumentTrace

ANSWER = DocumentScores(step_count=7, queue_seconds=0.5, compute_seconds=0.25)


@dataclass
class Told:
    """Stands for the span of a call; keeps what it is told."""

    trace_id: str = ""
    parts: list[tuple[str, tuple[Stage, ...], float, Facts]] = field(default_factory=list)
    whole: list[tuple[tuple[Stage, ...], Facts]] = field(default_factory=list)

    def answered(self, outcome: object, received_seconds: float) -> None:
        pytest.fail("no operation is answered")

    def operations(self, answers: Iterable[tuple[Asked, object]], answered_seconds: float) -> None:
        pytest.fail("no operation is answered")

    def stages(self, stages: Sequence[Stage], facts: Facts) -> None:
        self.whole.append((tuple(stages), facts))

    def part(self, name: str, stages: Sequence[Stage], ended_seconds: float, facts: Facts) -> None:
        self.parts.append((name, tuple(stages), ended_seconds, facts))

    def end(self, code: int, *, is_fault: bool) -> None:
        pytest.fail("the interceptor ends spans")


def test_all_documents_of_a_call_have_three_stages_together() -> None:
    """From the first that was read to the first slice, to the last that was computed; failures count by themselves."""
    told = Told()
    trace = DocumentTrace(told, parts=False)
    for number in range(1000):
        received_seconds = 10.0 + number
        trace.answered(
            ANSWER,
            received_seconds=received_seconds,
            computed_seconds=received_seconds + 1,
            told_seconds=received_seconds + 2,
        )
    trace.answered(None, received_seconds=1.0, computed_seconds=0.0, told_seconds=1.0)
    trace.end()
    ((stages, facts),) = told.whole
    assert stages == (Stage("queue", 10.0), Stage("batch", 10.5), Stage("publish", 1010.0))
    assert facts == {"documents": 1001, "failed_documents": 1, "steps": 7000}
    assert told.parts == []


def test_a_document_of_a_stream_is_offered_as_a_part() -> None:
    """With its own stages, and the time of the slices alone."""
    told = Told()
    trace = DocumentTrace(told, parts=True)
    trace.answered(ANSWER, received_seconds=10.0, computed_seconds=11.0, told_seconds=12.0)
    (part,) = told.parts
    stages = (Stage("queue", 10.0), Stage("batch", 10.5, {"compute_seconds": 0.25}), Stage("publish", 11.0))
    assert part == ("document", stages, 12.0, {"steps": 7})


def test_a_call_of_which_nothing_was_computed_has_no_stages() -> None:
    """Only how many there were."""
    told = Told()
    trace = DocumentTrace(told, parts=True)
    trace.answered(None, received_seconds=10.0, computed_seconds=10.0, told_seconds=10.0)
    trace.end()
    assert told.whole == [((), {"documents": 1, "failed_documents": 1, "steps": 0})]
    assert told.parts == []
