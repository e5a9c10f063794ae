"""Rules and alerts: what is committed is what the code makes, Prometheus takes it, and each alert is tried."""

import re
from pathlib import Path

import pytest
import yaml

from deploy.alerts import ALERTS
from deploy.rules import PATH, rendered
from tests.deploy.promtool import promtool

CASES = sorted(PATH.parent.glob("*.test.yml"))
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_committed_rules_are_those_of_the_code() -> None:
    """After a change, `python -m deploy.rules` was run."""
    assert PATH.read_text(encoding="utf-8") == rendered()


def test_prometheus_takes_the_rules() -> None:
    """Its own tool finds nothing wrong."""
    assert "SUCCESS" in promtool("check", "rules", str(PATH))


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(cases: Path) -> None:
    """Series that are ill, and series that are well."""
    assert "SUCCESS" in promtool("test", "rules", str(cases))


def test_each_alert_is_seen_to_fire() -> None:
    """There is a case for each, so that one that can never fire is found."""
    tried = set(re.findall(r"\b(Gatehouse[A-Za-z]+)", _expected_to_fire()))
    # The budgets are tried at every speed for two objectives, and at one speed for the third: the code is the same.
    same = {"GatehouseAvailabilityBurnsSteadily", "GatehouseAvailabilityBurnsSlowly"}
    assert {alert.name for alert in ALERTS} - tried == same


def _expected_to_fire() -> str:
    cases = [case for path in CASES for case in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]]
    labels = [
        sample["labels"]
        for case in cases
        for query in case.get("promql_expr_test", [])
        for sample in query["exp_samples"]
    ]
    named = [
        query["alertname"]
        for case in cases
        for query in case.get("alert_rule_test", [])
        if query["exp_alerts"]
    ]
    return " ".join(labels + named)


def test_each_alert_says_what_to_do() -> None:
    """The page for operators has a section under its name, or names it in that of its neighbour."""
    page = OPERATIONS.read_text(encoding="utf-8")
    sections = set(re.findall(r"^### (\w+)$", page, re.MULTILINE))
    for alert in ALERTS:
        assert alert.name in page
        assert (alert.section or alert.name) in sections
