"""Renders the newest results into docs/performance.md and docs/cells.md, and pictures of them into docs/images.

    python -m benchmarks.report [--check] [--no-plots]

Reads benchmarks/results/*.json. A page's prose outside the markers stays as it is; a test keeps what is inside equal
to the results. `--check` only says whether it is. Pictures need matplotlib, which is among the development packages.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import report_cells, report_tables
from benchmarks.report_results import Results

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
CELLS_PAGE = ROOT / "docs" / "cells.md"
IMAGES = ROOT / "docs" / "images"
RENDERED = {PAGE: report_tables.rendered, CELLS_PAGE: report_cells.rendered}


def main() -> None:
    """Writes pages and pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is of before")
    parser.add_argument("--no-plots", action="store_true", help="leave the pictures as they are")
    options = parser.parse_args()
    results = Results.read()
    for page, rendered in RENDERED.items():
        old = page.read_text(encoding="utf-8")
        new = rendered(old, results)
        if options.check and old != new:
            sys.exit(f"{page} is of before; python -m benchmarks.report writes it anew")
        if not options.check:
            page.write_text(new, encoding="utf-8")
    if not options.check and not options.no_plots:
        from benchmarks import report_cells_plots, report_plots  # matplotlib is slow to import

        for draw_all in (report_plots.draw_all, report_cells_plots.draw_all):
            for file in draw_all(results, IMAGES):
                print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
