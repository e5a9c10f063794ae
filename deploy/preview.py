"""Draws the dashboard without Grafana, from what a Prometheus server knows.

python -m deploy.preview --prometheus http://localhost:9090 --minutes 10 --out docs/images/dashboard.png
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deploy.panel import Panel, Screen, Unit
from deploy.prometheus_api import Prometheus, QueryError, Series
from deploy.screens import SCREENS

_COLUMNS = 24
_ROW_INCHES = 0.34
_INK, _PAPER, _CARD, _FAINT = "#d8d9da", "#111217", "#181b1f", "#33363c"
_COLORS = (
    "#73bf69",
    "#f2cc0c",
    "#8ab8ff",
    "#ff780a",
    "#f2495c",
    "#5794f2",
    "#b877d9",
    "#705da0",
    "#37872d",
    "#fade2a",
)
_STATES = {"good": "#73bf69", "warn": "#f2cc0c", "alarm": "#f2495c"}
_MOST_LEGENDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The time that is drawn, Unix seconds, and the window of rates."""

    begin: float
    end: float
    rate_window: str

    def filled(self, expression: str) -> str:
        """An expression with Grafana's variables filled in: everything is chosen."""
        whole = f"{max(1, int(self.end - self.begin))}s"
        for name, value in (
            ("$__rate_interval", self.rate_window),
            ("$__range", whole),
            ("$instance", ".*"),
            ("$model", ".*"),
        ):
            expression = expression.replace(name, value)
        return expression


def draw(prometheus: Prometheus, span: Span, out: Path) -> None:
    """All screens below each other, into one PNG."""
    heights = [_layout(screen)[1] + 2 for screen in SCREENS]
    figure = plt.figure(figsize=(19, _ROW_INCHES * sum(heights)), facecolor=_PAPER)
    top = 0
    for screen, height in zip(SCREENS, heights, strict=True):
        _screen(figure, screen, prometheus, span, top, sum(heights))
        top += height
    figure.savefig(out, dpi=80, facecolor=_PAPER)
    plt.close(figure)


def _layout(screen: Screen) -> tuple[list[tuple[int, int]], int]:
    """The (column, row) of each panel, from left to right, and how many rows the screen has."""
    places, column, row, tallest = [], 0, 0, 0
    for panel in screen.panels:
        if column + panel.width > _COLUMNS:
            column, row, tallest = 0, row + tallest, 0
        places.append((column, row))
        column, tallest = column + panel.width, max(tallest, panel.height)
    return places, row + tallest


def _screen(figure: Any, screen: Screen, prometheus: Prometheus, span: Span, top: int, rows: int) -> None:
    figure.text(0.012, 1 - (top + 1.1) / rows, screen.question, color=_INK, fontsize=17, weight="bold")
    places, _ = _layout(screen)
    for panel, (column, row) in zip(screen.panels, places, strict=True):
        left, width = column / _COLUMNS, panel.width / _COLUMNS
        bottom, height = 1 - (top + 2 + row + panel.height) / rows, panel.height / rows
        card = figure.add_axes((left + 0.004, bottom + 0.12 / rows, width - 0.008, height - 0.24 / rows))
        card.set_facecolor(_CARD)
        card.set_xticks([])
        card.set_yticks([])
        for edge in card.spines.values():
            edge.set_color(_FAINT)
        card.text(
            0.5,
            1 - 0.5 / panel.height,
            panel.title,
            color=_INK,
            fontsize=9.5,
            ha="center",
            va="center",
            weight="bold",
        )
        found = [
            (query.legend, series)
            for query in panel.queries
            for series in _asked(prometheus, span, panel, query.expression)
        ]
        if panel.kind == "timeseries":
            legend_rows = 1.9
            axes = figure.add_axes(
                (
                    left + 0.036,
                    bottom + (0.55 + legend_rows) / rows,
                    width - 0.048,
                    height - (1.75 + legend_rows) / rows,
                )
            )
            _lines(axes, panel, found, span)
        else:
            _values(card, panel, found)


def _asked(prometheus: Prometheus, span: Span, panel: Panel, expression: str) -> list[Series]:
    filled = span.filled(expression)
    try:
        if panel.kind == "timeseries":
            step = max(1.0, (span.end - span.begin) / 200)
            found = prometheus.series(filled, begin=span.begin, end=span.end, step=step)
        else:
            found = prometheus.now(filled)
    except QueryError as error:
        raise click.ClickException(f"{panel.title}: {error}") from error
    return [
        series for series in found if any(value == value for _, value in series.values)
    ]  # not NaN throughout


def _lines(axes: Axes, panel: Panel, found: list[tuple[str, Series]], span: Span) -> None:
    axes.set_facecolor(_CARD)
    axes.tick_params(colors=_INK, labelsize=7, length=0)
    axes.grid(color=_FAINT, linewidth=0.5)
    for edge in axes.spines.values():
        edge.set_visible(False)
    axes.set_xlim(span.begin, span.end)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: time.strftime("%H:%M", time.localtime(at))))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, panel.unit)))
    found = sorted(found, key=lambda entry: -_mean(entry[1]))
    if not found:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, color=_INK, ha="center", fontsize=9)
        axes.set_yticks([])
        return
    lowest: dict[float, float] = {}
    for number, (legend, series) in enumerate(found):
        color = _COLORS[number % len(_COLORS)]
        ats = [at for at, _ in series.values]
        if panel.stacked:
            below = [lowest.get(at, 0.0) for at in ats]
            values = [base + value for base, (_, value) in zip(below, series.values, strict=True)]
            lowest |= dict(zip(ats, values, strict=True))
        else:
            below, values = [0.0] * len(ats), [value for _, value in series.values]
        label = named(legend, series.labels) if number < _MOST_LEGENDS else None
        axes.plot(ats, values, color=color, linewidth=1.1, label=label)
        axes.fill_between(ats, below, values, color=color, alpha=0.12, linewidth=0)
    axes.set_ylim(0, panel.most or max(axes.get_ylim()[1], 1e-9))
    for limit, color in ((panel.warn, _STATES["warn"]), (panel.alarm, _STATES["alarm"])):
        if limit is not None and limit < axes.get_ylim()[1]:
            axes.axhline(limit, color=color, linewidth=0.9, linestyle="--")
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.06, -0.14),
        ncols=3 if panel.width >= 8 else 2,
        fontsize=6.5,
        frameon=False,
        labelcolor=_INK,
        handlelength=1,
        columnspacing=1.0,
        borderaxespad=0,
    )


def _values(card: Axes, panel: Panel, found: list[tuple[str, Series]]) -> None:
    found.sort(key=lambda entry: named(entry[0], entry[1].labels))
    if not found:
        card.text(0.5, 0.45, "no data", color=_INK, ha="center", va="center", fontsize=10)
    elif panel.kind == "stat":
        value = found[0][1].values[-1][1]
        card.text(
            0.5,
            0.4,
            shown(value, panel.unit),
            color=_state(panel, value),
            ha="center",
            va="center",
            fontsize=22,
        )
    elif panel.kind == "table":
        for row, (legend, series) in enumerate(found):
            card.text(
                0.03, 0.78 - 0.13 * row, named(legend, series.labels), color=_INK, fontsize=8, va="center"
            )
    else:
        most = max(series.values[-1][1] for _, series in found) or 1.0
        for row, (legend, series) in enumerate(found):
            value, at = series.values[-1][1], 0.74 - 0.18 * row
            card.barh(at, 0.55 * value / most, height=0.1, left=0.25, color=_state(panel, value))
            card.text(0.23, at, named(legend, series.labels), color=_INK, fontsize=8, ha="right", va="center")
            card.text(
                0.27 + 0.55 * value / most, at, shown(value, panel.unit), color=_INK, fontsize=8, va="center"
            )
        card.set_xlim(0, 1)
        card.set_ylim(0, 1)


def _state(panel: Panel, value: float) -> str:
    def beyond(limit: float | None) -> bool:
        return limit is not None and (value < limit if panel.low_is_bad else value >= limit)

    return _STATES["alarm" if beyond(panel.alarm) else "warn" if beyond(panel.warn) else "good"]


def _mean(series: Series) -> float:
    values = [value for _, value in series.values if value == value]
    return sum(values) / len(values)


def named(legend: str, labels: dict[str, str]) -> str:
    """A legend with the labels filled in; the method's package, which is always the same, left out."""
    text = re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), legend)
    return text.replace("gatehouse.v1.", "")


def shown(value: float, unit: Unit) -> str:
    """A number as people read it."""
    if unit == "percentunit":
        return f"{100 * value:.4g} %"
    if unit == "s":
        for factor, name in (
            (86400.0, "d"),
            (3600.0, "h"),
            (60.0, "min"),
            (1.0, "s"),
            (1e-3, "ms"),
            (1e-6, "µs"),
        ):
            if abs(value) >= factor:
                return f"{value / factor:.3g} {name}"
        return "0 s" if value == 0 else f"{value / 1e-6:.2g} µs"
    steps = (
        ((2.0**30, " GiB"), (2.0**20, " MiB"), (2.0**10, " KiB"))
        if unit == "bytes"
        else ((1e9, " G"), (1e6, " M"), (1e3, " k"))
    )
    for size, name in steps:
        if abs(value) >= size:
            return f"{value / size:.3g}{name}"
    suffix = {"bytes": " B", "ops": " /s", "reqps": " /s", "cps": " /s"}.get(unit, "")
    return f"{value:.3g}{suffix}"


@click.command()
@click.option(
    "--prometheus", "url", default="http://localhost:9090", show_default=True, help="Which server to ask."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="How far back."
)
@click.option(
    "--rate-window", default="1m", show_default=True, help="Window of rates: four scrapes at least."
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("dashboard.png"), show_default=True
)
def main(url: str, minutes: float, rate_window: str, out: Path) -> None:
    """Draw the dashboard into a PNG."""
    end = time.time()
    try:
        draw(Prometheus(url), Span(begin=end - 60 * minutes, end=end, rate_window=rate_window), out)
    except OSError as error:
        raise click.ClickException(f"{url}: {error}") from error
    click.echo(f"{out}")


if __name__ == "__main__":
    main()
