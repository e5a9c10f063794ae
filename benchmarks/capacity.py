"""The numbers of docs/capacity.md: read from the results of the benchmarks, computed by the page's own formulas.

    python -m benchmarks.capacity [--write]

A row of a table whose last column is headed `from` takes its value from there: a path into a file of
benchmarks/results, a default of the settings, or the page itself (`assumed`). A row of a table with a `formula` has a
value in each column whose heading gives a name another value. Without `--write` it only says whether the page is right.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatehouse_server.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "capacity.md"
RESULTS = ROOT / "benchmarks" / "results"

Values = dict[str, float]

_FUNCTIONS = {"ceil": math.ceil, "max": max, "min": min}


def recomputed(page: str) -> str:
    """The page with the numbers that it should have. Raises LookupError for a source or a name that is not there."""
    tables = [_cells(line) for line in page.splitlines()]
    inputs: Values = {}
    formulas: dict[str, str] = {}
    heading: list[str] = []
    for cells in tables:
        if not _name(cells):
            heading = cells or heading
        elif heading[-1] == "from":
            inputs[_name(cells)] = _input(cells)
        elif _code(cells[1]):
            formulas[_name(cells)] = _code(cells[1])
    lines = []
    for line, cells in zip(page.splitlines(), tables, strict=True):
        if not _name(cells):
            heading = cells or heading
            lines.append(line)
        elif heading[-1] == "from":
            lines.append(_line([cells[0], _shown(inputs[_name(cells)]), *cells[2:]]))
        else:
            columns = [_computed({**inputs, **_changes(title)}, formulas) for title in heading[3:]]
            lines.append(_line([*cells[:3], *(_shown(column[_name(cells)]) for column in columns)]))
    return "\n".join(lines) + "\n"


def _computed(values: Values, formulas: dict[str, str]) -> Values:
    """All formulas in the page's order, each of which may use those before it."""
    for name, formula in formulas.items():
        try:
            # The page is part of this tree, and its formulas can name nothing but numbers.
            values[name] = eval(formula, {"__builtins__": {}, **_FUNCTIONS}, values)
        except NameError as error:
            raise LookupError(f"{name}: {error}") from None
    return values


def _input(cells: Sequence[str]) -> float:
    source, _, path = _code(cells[-1]).partition(" ")
    if source == "assumed":
        return float(cells[1].replace(",", ""))
    if source == "settings":
        return float(Settings.model_fields[path].default)
    found: Any = json.loads((RESULTS / source).read_text(encoding="utf-8"))
    for part in path.split("/"):
        found = _selected(found, part) if isinstance(found, list) else found[part]
    return float(found)


def _selected(rows: list[dict[str, Any]], conditions: str) -> dict[str, Any]:
    """The one row with `key=value` for each of the conditions, which commas part."""
    wanted = dict(condition.split("=") for condition in re.split(",(?! )", conditions))
    found = [row for row in rows if all(str(row.get(key)) == value for key, value in wanted.items())]
    if len(found) != 1:
        raise LookupError(f"{len(found)} rows have {conditions}")
    return found[0]


def _changes(title: str) -> Values:
    name, _, value = _code(title).partition(" = ")
    return {name: float(value)}


def _shown(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cells(line: str) -> list[str]:
    if not line.startswith("|") or line.startswith("| ---"):
        return []
    return [cell.strip() for cell in line.strip("|").split("|")]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _name(cells: Sequence[str]) -> str:
    """What a row defines; empty for other lines, headings and rows of plain tables among them."""
    return _code(cells[0]) if len(cells) > 3 else ""


def _code(cell: str) -> str:
    found = re.fullmatch(r"`([^`]+)`", cell)
    return found[1] if found else ""


def main() -> None:
    """Checks or writes the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put the right numbers into the page")
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    right = recomputed(page)
    if options.write:
        PAGE.write_text(right, encoding="utf-8")
    elif page != right:
        sys.exit(
            f"{PAGE} has numbers of before; python -m benchmarks.capacity --write puts the right ones in"
        )


if __name__ == "__main__":
    main()
