"""What the service promises, and how fast a promise may be broken before somebody is told."""

from dataclasses import dataclass
from typing import Final, Literal

from gatehouse_server.telemetry.request_metrics import OWN_FAULTS

_ONLINE = '{operation=~"write|suggest"'
_OWN_FAULTS = "|".join(OWN_FAULTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """`target` of operations are good. `ratio` is the expression for the share of bad ones, `{window}` its window, and
    `counted` the counter of all.
    """

    name: str
    title: str
    promise: str
    bad: str
    target: float
    ratio: str
    counted: str

    def recorded(self, window: str) -> str:
        """The name under which the share of bad operations is recorded."""
        return f"gatehouse:{self.name}:ratio_rate{window}"

    def recording(self, window: str) -> dict[str, object]:
        """The rule that records it."""
        return {"record": self.recorded(window), "expr": self.ratio.replace("{window}", window)}


OBJECTIVES: Final = (
    Objective(
        name="online_slow",
        title="Latency",
        promise="99 % of writes and suggestions within 50 ms",
        bad="of writes and suggestions took longer than 50 ms",
        target=0.99,
        ratio=(
            f'1 - sum by (job) (rate(gatehouse_result_seconds_bucket{_ONLINE}, le="0.05"}}[{{window}}])) '
            f"/ sum by (job) (rate(gatehouse_result_seconds_count{_ONLINE}}}[{{window}}]))"
        ),
        counted=f"gatehouse_result_seconds_count{_ONLINE}}}",
    ),
    Objective(
        name="failed",
        title="Availability",
        promise="99.9 % of operations without a failure of the server's own",
        bad="of operations failed for a reason of the server's own",
        target=0.999,
        ratio=(
            f'(sum by (job) (rate(gatehouse_operations_total{{code=~"{_OWN_FAULTS}"}}[{{window}}])) '
            "or 0 * sum by (job) (rate(gatehouse_operations_total[{window}]))) "
            "/ sum by (job) (rate(gatehouse_operations_total[{window}]))"
        ),
        counted="gatehouse_operations_total",
    ),
)


LEAST_OPERATIONS: Final = 25
"""Fewer within the short window wake nobody: of three operations at night, a slow one would be a third."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The budget is spent `factor` times as fast as it may be, over the last `long`, and still in the last `short`."""

    title: str
    factor: float
    long: str
    short: str
    hold: str
    severity: Literal["page", "ticket"]
    lasts: str


# Beyer et al. 2018, "The Site Reliability Workbook", chapter 5, table 5-8, for an objective over 30 days.
WINDOWS: Final = (
    Window(title="Fast", factor=14.4, long="1h", short="5m", hold="2m", severity="page", lasts="two days"),
    Window(
        title="Steadily", factor=6, long="6h", short="30m", hold="15m", severity="page", lasts="five days"
    ),
    Window(title="Slowly", factor=1, long="3d", short="6h", hold="1h", severity="ticket", lasts="a month"),
)
