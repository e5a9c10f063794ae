"""What is written of each step of a document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gatehouse.command.document_run import shortest

if TYPE_CHECKING:
    from gatehouse.command.document_reading import Source
    from gatehouse.results import DocumentResult, DocumentStep


def step_records(
    result: DocumentResult, source: Source, of: Callable[[DocumentStep], Mapping[str, object]]
) -> list[Mapping[str, object]]:
    """One record for each step: its part of the text, if there is one, and what `of` says of it."""
    if not source.text:
        return [of(step) for step in result.steps]
    return [
        {"text": source.text[step.span], "start": step.text_start, "end": step.text_end, **of(step)}
        for step in result.steps
    ]


def numbers(values: memoryview[float] | None) -> list[float | None]:
    """float32 values in as many digits as say something."""
    return [] if values is None else [shortest(value) for value in values]
