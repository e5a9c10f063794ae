"""What a panel of the dashboard is, apart from what draws it."""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["s", "bytes", "percentunit", "ops", "reqps", "short", "none", "cps"]
Kind = Literal["timeseries", "stat", "bargauge", "table"]


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and what its series are called; `{{label}}` stands for a label's value."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """`description` says what is seen and what to do about it. `warn` and `alarm` are where it turns yellow and red;
    with `low_is_bad` below them instead of above.
    """

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: Unit = "short"
    kind: Kind = "timeseries"
    warn: float | None = None
    alarm: float | None = None
    low_is_bad: bool = False
    stacked: bool = False
    most: float | None = None
    width: int = 8
    height: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """One question, on one screen: panels in reading order, from the overview to details."""

    question: str
    panels: tuple[Panel, ...]
