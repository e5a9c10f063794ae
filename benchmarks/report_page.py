"""The measured part of a page: what stands between two marks."""

from __future__ import annotations

from collections.abc import Iterable

BEGIN, END = "<!-- written by benchmarks.report -->", "<!-- end of what benchmarks.report wrote -->"


def with_measured_part(page: str, lines: Iterable[str]) -> str:
    """The page with its measured part made anew. Raises ValueError when the page has no place for it."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after
