"""The one call that measures a GPU: what becomes of its parts, and how long all of it may take."""

import json

import pytest

from benchmarks.gpu import BUDGET_SECONDS, Part, counts_of, parts_of, run


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_all_parts_together_take_less_than_ten_minutes(device, tmp_path):
    """Their limits say so; the quick ones are bounded by the budget alone."""
    parts = parts_of(device, quick=False, report=tmp_path / "tests.xml")
    assert sum(part.limit_seconds for part in parts) <= BUDGET_SECONDS < 600
    assert [part.name for part in parts] == [
        "tests",
        "engine",
        "engine_reproducible",
        "online",
        "online_large",
        "offline",
        "mixed",
    ]
    assert all(device in part.arguments for part in parts[1:])


def test_figures_are_kept_under_the_part_s_name(tmp_path):
    """The last line of what a part prints becomes its file."""
    source = tmp_path / "source.json"
    source.write_text('{"steps_per_second": 7}', encoding="utf-8")
    part = Part(name="engine", arguments=("json.tool", "--compact", str(source)), limit_seconds=50)
    row = run(part, tmp_path, left_seconds=50)
    assert row["figures"] == {"steps_per_second": 7}
    assert json.loads((tmp_path / "engine.json").read_text(encoding="utf-8")) == row["figures"]
    assert not (tmp_path / "engine.log").exists()


def test_a_part_that_fails_leaves_what_it_said(tmp_path):
    """And no figures; so does one that takes too long, whose processes are ended."""
    failed = Part(name="engine", arguments=("no_module_of_that_name",), limit_seconds=50)
    assert "exit code 1" in run(failed, tmp_path, left_seconds=50)["failure"]
    assert "no_module_of_that_name" in (tmp_path / "engine.log").read_text(encoding="utf-8")
    slow = Part(name="online", arguments=("http.server", "0", "--bind", "127.0.0.1"), limit_seconds=50)
    assert "took longer than 1 s" in run(slow, tmp_path, left_seconds=1)["failure"]


def test_tests_are_counted_by_what_became_of_them(tmp_path):
    """From pytest's report; without one there is nothing to tell."""
    report = tmp_path / "tests.xml"
    assert counts_of(report) == {}
    report.write_text(
        '<testsuites><testsuite tests="5" failures="1" errors="0" skipped="4"/></testsuites>',
        encoding="utf-8",
    )
    assert counts_of(report) == {"tests": 5, "failures": 1, "errors": 0, "skipped": 4}
