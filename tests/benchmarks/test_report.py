"""The page on performance tells what was measured."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import PAGE
from benchmarks.report_results import Results
from benchmarks.report_tables import rendered
from benchmarks.report_targets import verdicts


@pytest.fixture(scope="module")
def results() -> Results:
    """The committed ones."""
    return Results.read()


def test_the_page_tells_the_committed_results(results):
    """Its measured part is what the results give: `python -m benchmarks.report` writes it anew."""
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page, results) == page


def test_another_measurement_makes_another_page(results):
    """Nothing of the measured part is taken from the page."""
    page = PAGE.read_text(encoding="utf-8")
    changed = json.loads(json.dumps(dict(results.files)))
    for row in changed["online-R2"]["results"]:
        if "steps_per_second" in row:
            row["steps_per_second"] *= 3
    assert rendered(page, Results(changed)) != page


def test_prose_outside_the_markers_stays(results):
    """What people write about precision and peers is not written over."""
    page = PAGE.read_text(encoding="utf-8")
    longer = page + "\nA sentence of somebody.\n"
    assert rendered(longer, results) == longer


def test_a_page_without_markers_is_refused(results):
    """The measured part is never put in a wrong place."""
    with pytest.raises(ValueError, match="needs the lines"):
        rendered("# Performance\n", results)


def test_a_target_that_is_missed_says_why(results):
    """The table of targets has a cause wherever it says no."""
    assert [each.what for each in verdicts(results) if each.met is False and not each.cause] == []


def test_targets_are_judged_by_what_was_measured(results):
    """With a slower server the same target is missed."""
    changed = json.loads(json.dumps(dict(results.files)))
    for row in changed["offline"]["results"]:
        row["lane"]["over_ideal"] = 0.5
    (now,) = [each for each in verdicts(Results(changed)) if each.what.startswith("R3 offline")]
    assert now.met is False


def test_tables_need_no_matplotlib():
    """Who only wants the numbers need not install what draws."""
    code = "import sys, benchmarks.report; sys.exit('matplotlib' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_every_picture_of_the_page_is_drawn(results, tmp_path):
    """What the page shows from the folder of pictures is what `report` draws, and nothing else is drawn."""
    from benchmarks.report_plots import draw_all

    drawn = {file.name for file in draw_all(results, tmp_path) if file.stat().st_size > 10_000}
    assert drawn == set(re.findall(r"\]\(images/([\w-]+\.png)\)", PAGE.read_text(encoding="utf-8")))
