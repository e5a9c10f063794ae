"""What panels and alerts ask for is there: edges of histograms, series that are not born yet, commands that tell."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from gatehouse_server.telemetry.request_metrics import RequestMetrics

from deploy.alerts import ALERTS
from deploy.objectives import OBJECTIVES
from deploy.preview import Span
from deploy.screens import SCREENS
from tests.deploy.promtool import promtool

PANELS = {panel.title: panel for screen in SCREENS for panel in screen.panels}
SPAN = Span(begin=0, end=240, rate_window="1m")


def tried(panel: str, series: dict[str, str], expected: list[dict[str, Any]], folder: Path) -> None:
    """A panel's first expression after five minutes of these series, a value every 15 seconds."""
    expression = SPAN.filled(PANELS[panel].queries[0].expression)
    case = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": "5m", "exp_samples": expected}],
    }
    path = folder / "panel.test.yml"
    path.write_text(yaml.safe_dump({"rule_files": [], "tests": [case]}), encoding="utf-8")
    assert "SUCCESS" in promtool("test", "rules", str(path))


def test_times_of_objectives_are_edges_of_the_histograms() -> None:
    """What is asked for is counted: a bucket that no server has would leave rules and panels empty, without a word."""
    counted = {
        (sample.labels["operation"], sample.labels["le"])
        for metric in RequestMetrics().collect()
        for sample in metric.samples
        if sample.name == "gatehouse_result_seconds_bucket"
    }
    expressions = [objective.ratio for objective in OBJECTIVES]
    expressions += [query.expression for panel in PANELS.values() for query in panel.queries]
    asked = {
        (operation, edge)
        for expression in expressions
        for operations, edge in re.findall(r'operation=~?"([^"]+)", le="([^"]+)"', expression)
        for operation in operations.split("|")
    }
    assert {operation for operation, _ in asked} == {"write", "suggest", "document"}
    assert asked <= counted


@pytest.mark.parametrize("lane", ["online", "offline"])
def test_processor_time_for_a_step_is_shown_where_one_kind_of_work_is_done(lane: str, tmp_path: Path) -> None:
    """The counter of the other kind is not born before its first tick or batch."""
    series = {
        'process_cpu_seconds_total{job="gatehouse", instance="a"}': "0+15x40",
        f'gatehouse_{lane}_steps_total{{job="gatehouse", instance="a", model="m"}}': "0+15000x40",
    }
    tried("Processor time for a step", series, [{"labels": "{}", "value": 0.001}], tmp_path)


def test_processor_time_for_a_step_is_not_shown_where_none_is_done(tmp_path: Path) -> None:
    """It would be infinite."""
    series = {'process_cpu_seconds_total{job="gatehouse", instance="a"}': "0+15x40"}
    tried("Processor time for a step", series, [], tmp_path)


def test_documents_in_time_are_a_share_of_those_there_were(tmp_path: Path) -> None:
    """Three of four; writes are no part of it, and where there were none at all nothing is shown."""
    name = 'gatehouse_result_seconds_{}{{job="gatehouse", instance="a", operation="{}"{}}}'
    writes = {
        name.format("bucket", "write", ', le="60.0"'): "0x40",
        name.format("count", "write", ""): "0+9x40",
    }
    documents = {
        name.format("bucket", "document", ', le="60.0"'): "0+3x40",
        name.format("count", "document", ""): "0+4x40",
    }
    none = dict.fromkeys(documents, "7x40")
    tried("Documents within 60 s", writes | documents, [{"labels": "{}", "value": 0.75}], tmp_path)
    tried("Documents within 60 s", writes | none, [], tmp_path)


def test_whoever_asks_why_a_model_failed_is_sent_to_the_command_that_tells() -> None:
    """`gatehouse status`: a list of models has no failure of one that is served as it was before."""
    (alert,) = (alert for alert in ALERTS if alert.name == "GatehouseModelFailed")
    for text in (alert.description, PANELS["Models that failed"].description):
        assert re.findall(r"`(.+?)`", text) == ["gatehouse status"]
