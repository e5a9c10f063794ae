"""Renders the newest results into docs/performance.md, and pictures of them into docs/images.

    python -m benchmarks.report [--check] [--no-plots]

Reads benchmarks/results/*.json. The page's prose outside the markers stays as it is; a test keeps what is inside equal
to the results. `--check` only says whether it is. Pictures need matplotlib, which is among the development packages.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.report_results import Results
from benchmarks.report_tables import rendered

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"


def main() -> None:
    """Writes page and pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is of before")
    parser.add_argument("--no-plots", action="store_true", help="leave the pictures as they are")
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    new = rendered(page, Results.read())
    if options.check:
        if page != new:
            sys.exit(f"{PAGE} is of before; python -m benchmarks.report writes it anew")
        return
    PAGE.write_text(new, encoding="utf-8")
    if not options.no_plots:
        from benchmarks.report_plots import draw_all  # matplotlib is slow to import

        for file in draw_all(Results.read(), IMAGES):
            print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
