"""Writes the dashboard for Grafana: `python -m deploy.dashboard`."""

from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from deploy.panel import Panel
from deploy.screens import SCREENS

PATH: Final = Path(__file__).parent / "grafana" / "gatehouse.json"
_SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${source}")
_COLUMNS: Final = 24


def rendered() -> str:
    """The file's content."""
    made = (
        dashboard.Dashboard("Gatehouse")
        .uid("gatehouse")
        .description("Four questions: is it up and honest, is it fast, is it full, is it efficient?")
        .tags(["gatehouse"])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
        .with_variable(_variable("instance", "Server", "label_values(gatehouse_build_info, instance)"))
        .with_variable(_variable("model", "Model", "label_values(gatehouse_model_parameters, model)"))
    )
    for screen in SCREENS:
        made = made.with_row(dashboard.Row(screen.question))
        for panel in screen.panels:
            made = made.with_panel(_panel(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(_SOURCE)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        .all_value(".*")
        .multi(True)
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _panel(panel: Panel) -> Any:
    """The SDK's builders have the same methods and no common type."""
    kinds: dict[str, Any] = {
        "timeseries": timeseries.Panel,
        "stat": stat.Panel,
        "bargauge": bargauge.Panel,
        "table": table.Panel,
    }
    made = (
        kinds[panel.kind]()
        .title(panel.title)
        .description(panel.description)
        .datasource(_SOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(panel.height)
        .thresholds(_thresholds(panel))
    )
    for number, query in enumerate(panel.queries):
        target = (
            prometheus.Dataquery()
            .expr(query.expression)
            .ref_id(chr(ord("A") + number))
            .legend_format(query.legend or panel.title)
        )
        made = made.with_target(target.range() if panel.kind == "timeseries" else target.instant())
    if panel.most is not None:
        made = made.max(panel.most)
    if panel.kind == "timeseries":
        made = _drawn(made, panel)
    elif panel.kind != "table":
        made = made.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    return made


def _drawn(made: Any, panel: Panel) -> Any:
    made = (
        made.min(0)
        .line_width(1)
        .fill_opacity(10)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
    )
    if panel.stacked:
        made = made.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if panel.warn is not None or panel.alarm is not None:
        made = made.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
        )
    return made


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    """Colours from the lowest value up; the first begins at minus infinity."""
    if panel.low_is_bad:
        steps = [("red", None), ("yellow", panel.alarm), ("green", panel.warn)]
    else:
        steps = [("green", None), ("yellow", panel.warn), ("red", panel.alarm)]
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps(
            [
                models.Threshold(color=color, value=value)
                for number, (color, value) in enumerate(steps)
                if number == 0 or value is not None
            ]
        )
    )


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(rendered(), encoding="utf-8")
