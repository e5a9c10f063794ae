"""What the service promises, and how fast a promise may be broken before somebody is told."""

from dataclasses import dataclass
from typing import Final, Literal

from gatehouse_server.telemetry.request_metrics import OWN_FAULTS

ONLINE: Final = 'operation=~"write|suggest"'
OFFLINE: Final = 'operation="document"'
_OWN_FAULTS = "|".join(OWN_FAULTS)

ONLINE_SECONDS: Final = 0.05
OFFLINE_SECONDS: Final = 60.0
"""Within so long an answer is good. Each is an edge of the histogram: what lies between two was not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """`target` of operations are good. `ratio` is the expression for the share of bad ones, `{window}` its window, and
    `counted` the counter of all. Without `wakes` nobody gets up for it, however fast its budget is spent.
    """

    name: str
    title: str
    promise: str
    bad: str
    target: float
    ratio: str
    counted: str
    wakes: bool = True

    def recorded(self, window: str) -> str:
        """The name under which the share of bad operations is recorded."""
        return f"gatehouse:{self.name}:ratio_rate{window}"

    def recording(self, window: str) -> dict[str, object]:
        """The rule that records it."""
        return {"record": self.recorded(window), "expr": self.ratio.replace("{window}", window)}


def _slower(operations: str, seconds: float) -> str:
    """The share of these operations that took longer, as `Objective.ratio`."""
    return (
        f'1 - sum by (job) (rate(gatehouse_result_seconds_bucket{{{operations}, le="{seconds}"}}[{{window}}])) '
        f"/ sum by (job) (rate(gatehouse_result_seconds_count{{{operations}}}[{{window}}]))"
    )


OBJECTIVES: Final = (
    Objective(
        name="online_slow",
        title="Latency",
        promise=f"99 % of writes and suggestions within {1000 * ONLINE_SECONDS:g} ms",
        bad=f"of writes and suggestions took longer than {1000 * ONLINE_SECONDS:g} ms",
        target=0.99,
        ratio=_slower(ONLINE, ONLINE_SECONDS),
        counted=f"gatehouse_result_seconds_count{{{ONLINE}}}",
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
    # Jobs wait, and no person: sessions come first, so that documents are late when much is typed.
    Objective(
        name="offline_slow",
        title="Offline",
        promise=f"99 % of documents within {OFFLINE_SECONDS:g} s",
        bad=f"of documents took longer than {OFFLINE_SECONDS:g} s",
        target=0.99,
        ratio=_slower(OFFLINE, OFFLINE_SECONDS),
        counted=f"gatehouse_result_seconds_count{{{OFFLINE}}}",
        wakes=False,
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
