"""Pictures of sessions, each with its finding as the title."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from benchmarks.report_results import Results, Row, machine
from benchmarks.report_style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    logarithmic,
    picture,
    sessions_axis,
)

_LINES = {
    "multiplexed": ("Gatehouse, one stream for all", BLUE, "o", "-"),
    "streams": ("Gatehouse, a stream each", SKY, "s", "-"),
    "unary": ("Gatehouse, a call for each step", PURPLE, "^", "-"),
    "plain": ("plain server, a stream each", ORANGE, "D", "--"),
    "echo": ("bare gRPC echo, a stream each", GREY, "", ":"),
}
_PERCENTILES = {"p50_ms": "50", "p95_ms": "95", "p99_ms": "99", "p99.9_ms": "99.9"}


def _row(results: Results, shape: str, sessions: int, line: str) -> Row | None:
    if line == "plain":
        return results.plain(shape, sessions)
    if line == "echo":
        return results.echo(shape, sessions, "streams")
    return results.closed(shape, sessions, line)


def _draw_lines(axes: Axes, results: Results, shape: str, figure: str, lines: Sequence[str]) -> None:
    sessions = results.sessions_of(shape)
    for line in lines:
        label, colour, marker, style = _LINES[line]
        found = [(count, _row(results, shape, count, line)) for count in sessions]
        points = [(count, row[figure]) for count, row in found if row is not None]
        axes.plot(*zip(*points, strict=True), style, marker=marker, color=colour, label=label)
    sessions_axis(axes, sessions, "sessions, closed loop")
    logarithmic(axes)


def throughput(results: Results, file: Path) -> None:
    """Steps per second by sessions."""
    with picture(file, machine(results["online-R2"]), panels=len(results.shapes)) as panels:
        for axes, shape in zip(panels, results.shapes, strict=True):
            _draw_lines(axes, results, shape, "steps_per_second", list(_LINES))
            together, each = (results.closed(shape, 256, regime) for regime in ("multiplexed", "streams"))
            title = shape
            if together and each:
                title = (
                    f"{shape}, 256 sessions, one stream: {together['over_plain']:.1f} times a plain server"
                )
            axes.set_title(title)
            axes.set_ylabel("steps per second")
        panels[0].legend()


def latency(results: Results, file: Path) -> None:
    """The p99 by sessions, and how slow the slowest answers are."""
    with picture(file, machine(results["online-R2"])) as panels:
        shape, sessions = "R2", 64
        _draw_lines(panels[0], results, shape, "p99_ms", ("multiplexed", "streams", "unary", "plain"))
        ours, plain = results.closed(shape, sessions, "multiplexed"), results.plain(shape, sessions)
        if ours and plain:
            told = f"p99 {ours['p99_ms']:.0f} ms, plain server {plain['p99_ms']:.0f} ms"
            panels[0].set_title(f"{shape}, {sessions} sessions: {told}")
        panels[0].set_ylabel("p99 latency, ms")
        panels[0].legend()
        axes = panels[1]
        lines = {
            "closed, one stream": (results.closed(shape, sessions, "multiplexed"), BLUE, "o-"),
            "closed, a stream each": (results.closed(shape, sessions, "streams"), SKY, "s-"),
            "plain server, closed": (results.plain(shape, sessions), ORANGE, "D--"),
        }
        for load, colour in ((0.5, GREEN), (0.8, RED)):
            found = results.online(shape, sessions=sessions, loop="open", load=load, regime="streams")
            lines[f"open, a stream each, {load:.0%} load"] = (found[0] if found else None, colour, "v-")
        for label, (row, colour, style) in lines.items():
            if row is not None:
                axes.plot(
                    list(_PERCENTILES.values()),
                    [row[name] for name in _PERCENTILES],
                    style,
                    color=colour,
                    label=label,
                )
        half = results.online(shape, sessions=sessions, loop="open", load=0.5, regime="streams")
        told = f": at half load 999 of 1,000 within {half[0]['p99.9_ms']:.0f} ms" if half else ""
        axes.set_title(f"{shape}, {sessions} sessions{told}")
        axes.set_xlabel("percentile")
        axes.set_ylabel("latency, ms; in open loop from when due")
        logarithmic(axes)
        axes.margins(y=0.4)
        axes.legend(loc="upper left", ncols=2, fontsize=8)
