"""Markdown of tables and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.report_results import Row


def whole(row: Row) -> str:
    """Its steps per second."""
    return f"{row['steps_per_second']:,.0f}"


def table(heading: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> Iterator[str]:
    """Its lines; columns after the first `left` ones are numbers."""
    yield f"| {' | '.join(heading)} |"
    rules = ["---" if column < left else "---:" for column in range(len(heading))]
    yield f"| {' | '.join(rules)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |".replace("|  |", "| |")
