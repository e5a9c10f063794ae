"""How the pictures look: light, readable when small, and told apart without red and green."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

# Okabe and Ito's colours for all kinds of colour vision.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
GREY = "#8A8A8A"

# Any: the names are Literals to matplotlib's types.
_STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
}


@contextmanager
def picture(file: Path, machine: str, panels: int = 2, height: float = 4.3) -> Iterator[Sequence[Axes]]:
    """Panels beside each other, written to the file; the machine is named below them."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.6 * panels if panels > 1 else 7.0, height), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        yield list(axes)
        figure.supxlabel(machine, fontsize=7.5, color="#555555", x=0.01, ha="left")
        file.parent.mkdir(parents=True, exist_ok=True)
        # Nothing of the day or the versions in the file: the same results make the same picture.
        figure.savefig(file, dpi=110, metadata={"Software": None})


def sessions_axis(axes: Axes, sessions: Sequence[int], label: str = "sessions") -> None:
    """A logarithmic axis with the numbers that were measured."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(sessions, [f"{count:,}" for count in sessions])
    axes.minorticks_off()
    axes.set_xlabel(label)


def logarithmic(axes: Axes) -> None:
    """A logarithmic axis upwards, with numbers instead of powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")


def bars(
    axes: Axes,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    colours: Sequence[str],
    form: str,
) -> None:
    """Bars beside each other in each group, with their values above."""
    width = 0.8 / len(series)
    for number, ((name, values), colour) in enumerate(zip(series.items(), colours, strict=False)):
        places = [group + (number - (len(series) - 1) / 2) * width for group in range(len(groups))]
        drawn = axes.bar(places, values, width * 0.92, label=name, color=colour)
        axes.bar_label(drawn, [form.format(value) for value in values], fontsize=8.5, padding=2)
    axes.set_xticks(range(len(groups)), groups)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.4)
