"""The page on capacity tells what was measured, and computes right."""

import re

import pytest

from benchmarks.capacity import PAGE, recomputed


def test_the_page_quotes_the_results_and_computes_right():
    """Its numbers are those of the result files and of its own formulas: benchmarks.capacity --write mends it."""
    page = PAGE.read_text(encoding="utf-8")
    assert recomputed(page) == page


@pytest.mark.parametrize("name", ["live_bytes", "capacity", "most_live", "live", "replicas"])
def test_a_wrong_number_is_put_right(name):
    """Measured ones, defaults and computed ones alike: none is taken from the page itself."""
    page = PAGE.read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
    wrong = re.sub(r"\| [\d,]+ \|", "| 7 |", row)
    assert wrong != row
    assert recomputed(page.replace(row, wrong)) == page


def test_what_is_assumed_decides_what_follows():
    """With less load on each process, there are more of them."""
    page = PAGE.read_text(encoding="utf-8")
    assumed = next(line for line in page.splitlines() if line.startswith("| `load` |"))
    other = recomputed(page.replace(assumed, re.sub(r"0\.\d+", "0.1", assumed, count=1)))
    assert _replicas(other) > _replicas(page)


def test_a_source_that_is_not_there_is_an_error():
    """A result that was renamed does not leave an old number behind."""
    page = PAGE.read_text(encoding="utf-8")
    with pytest.raises(LookupError):
        recomputed(page.replace("place=live/", "place=nowhere/"))


def _replicas(page: str) -> int:
    row = next(line for line in page.splitlines() if line.startswith("| `replicas` | `"))
    return int(row.split("|")[4].strip().replace(",", ""))
