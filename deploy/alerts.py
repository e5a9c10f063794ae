"""Alerts: when somebody has to look, or to get up. docs/operations.md has a paragraph for each, under its name."""

from dataclasses import dataclass
from typing import Final, Literal

from deploy.objectives import LEAST_OPERATIONS, OBJECTIVES, WINDOWS, Objective, Window

Severity = Literal["page", "ticket"]
_RUNBOOK: Final = "docs/operations.md"
_OFFLINE_CALLS: Final = 'sum by (job, instance) (gatehouse_requests_in_flight{method=~".*OfflineService.*"})'


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """`expression` is true of series that are ill, and has to be for `hold`. `page`: somebody gets up.

    `section` of the page for operators says what to do; None: the one of this name.
    """

    name: str
    expression: str
    hold: str
    severity: Severity
    summary: str
    description: str
    section: str | None = None

    def rule(self) -> dict[str, object]:
        """As Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.hold,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook": f"{_RUNBOOK}#{(self.section or self.name).lower()}",
            },
        }


def burning(objective: Objective, window: Window) -> Alert:
    """An objective's budget is spent so fast, in a long window and in a short one that tells whether it still is."""
    limit = f"{window.factor:g} * {1 - objective.target:g}"
    return Alert(
        name=f"Gatehouse{objective.title}Burns{window.title}",
        expression=(
            f"{objective.recorded(window.long)} > {limit} and {objective.recorded(window.short)} > {limit} "
            f"and on (job) sum by (job) (increase({objective.counted}[{window.short}])) >= {LEAST_OPERATIONS}"
        ),
        hold=window.hold,
        severity=window.severity if objective.wakes else "ticket",
        summary=f"{objective.promise} is being missed",
        description=(
            f"{{{{ $value | humanizePercentage }}}} {objective.bad} in the last {window.long}; the objective allows "
            f"{1 - objective.target:.1%}. A month's budget lasts {window.lasts} at this rate."
        ),
        section=f"Gatehouse{objective.title}Burns{WINDOWS[0].title}",
    )


_STATE: Final = (
    Alert(
        name="GatehouseDown",
        expression='up{job="gatehouse"} == 0',
        hold="2m",
        severity="page",
        summary="{{ $labels.instance }} does not answer Prometheus",
        description="The process is gone, or its HTTP port cannot be reached.",
    ),
    Alert(
        name="GatehouseAbsent",
        expression='absent(up{job="gatehouse"})',
        hold="5m",
        severity="page",
        summary="Prometheus knows no Gatehouse server",
        description="No server is deployed, or Prometheus no longer finds any.",
    ),
    Alert(
        name="GatehouseStuck",
        expression="gatehouse_healthy == 0",
        hold="1m",
        severity="page",
        summary="{{ $labels.instance }} computes nothing any more",
        description="A turn of its engine does not end. Only a restart helps.",
    ),
    Alert(
        name="GatehouseNotReady",
        # The most of two minutes: a process that ends while it loads, again and again, is not seen at every scrape.
        expression="max_over_time(gatehouse_ready[2m]) == 0 and max_over_time(gatehouse_healthy[2m]) == 1",
        hold="5m",
        severity="page",
        summary="{{ $labels.instance }} has not been ready for five minutes",
        description="It loads, drains, lacks a required model, or its state store refuses writes. /readyz says which.",
    ),
    Alert(
        name="GatehouseRestarts",
        expression='changes(process_start_time_seconds{job="gatehouse"}[30m]) >= 3',
        hold="0m",
        severity="page",
        summary="{{ $labels.instance }} keeps starting anew",
        description="It started {{ $value }} times in the last half hour.",
    ),
    Alert(
        name="GatehouseModelFailed",
        expression="gatehouse_model_failed == 1",
        hold="2m",
        severity="ticket",
        summary="{{ $labels.model }}@{{ $labels.version }} could not be loaded",
        description=(
            "{{ $labels.instance }} serves without it, or with what it had of it before. `gatehouse status` tells why, "
            "in one line."
        ),
    ),
    Alert(
        name="GatehouseInternalErrors",
        # Each is a defect, a single one too.
        expression='sum by (job, instance) (increase(gatehouse_operations_total{code="INTERNAL"}[1h])) > 0',
        hold="0m",
        severity="ticket",
        summary="{{ $labels.instance }} had errors of its own in the last hour",
        description="Each was told the correlation_id of a line in the log, with a traceback.",
    ),
)
_FULL: Final = (
    Alert(
        name="GatehouseQueueFilling",
        expression="gatehouse_queue_depth / on (job, instance) group_left gatehouse_queue_capacity > 0.8",
        hold="2m",
        severity="page",
        summary="The {{ $labels.lane }} queue of {{ $labels.instance }} is {{ $value | humanizePercentage }} full",
        description="Beyond its capacity, operations are refused with RESOURCE_EXHAUSTED.",
    ),
    Alert(
        name="GatehouseRefuses",
        # For five minutes, not once in five minutes: of a short burst the budget of failures tells, if it is large.
        expression="sum by (job, instance, reason) (rate(gatehouse_refused_total[4m])) > 0",
        hold="5m",
        severity="page",
        summary="{{ $labels.instance }} refuses work: {{ $labels.reason }}",
        description="{{ $value | humanize }} operations a second are refused.",
    ),
    Alert(
        name="GatehouseSessionsNearlyFull",
        # As the server counts: those in memory, or those of the store, whichever are more.
        expression=(
            'max by (job, instance) (sum without (tier) (gatehouse_sessions_by_tier{tier!="store"}) '
            'or gatehouse_sessions_by_tier{tier="store"}) / on (job, instance) '
            'gatehouse_sessions_capacity{tier="total"} > 0.9'
        ),
        hold="10m",
        severity="ticket",
        summary="{{ $labels.instance }} has {{ $value | humanizePercentage }} of the sessions it may have",
        description="When it is full, new sessions are refused; those that live go on.",
    ),
    Alert(
        name="GatehouseDeviceMemoryLow",
        expression=(
            'gatehouse_device_memory_bytes{kind="free"} / on (job, instance) '
            'gatehouse_device_memory_bytes{kind="total"} < 0.05'
        ),
        hold="10m",
        severity="ticket",
        summary="The GPU of {{ $labels.instance }} has {{ $value | humanizePercentage }} of its memory left",
        description="A larger batch may not fit any more.",
    ),
    Alert(
        name="GatehouseEventLoopLate",
        expression=(
            "histogram_quantile(0.99, sum by (job, instance, le) "
            "(rate(gatehouse_event_loop_lag_seconds_bucket[5m]))) > 0.1"
        ),
        hold="10m",
        severity="ticket",
        summary="Calls of {{ $labels.instance }} wait {{ $value | humanizeDuration }} for its event loop",
        description="The process has too little processor time, or more messages than one loop can take.",
    ),
    Alert(
        name="GatehouseOfflineStalled",
        # A server that never finished one has no series of them.
        expression=(
            f"(sum by (job, instance) (rate(gatehouse_offline_documents_total[10m])) or 0 * {_OFFLINE_CALLS}) == 0 "
            f"and on (job, instance) {_OFFLINE_CALLS} > 0 "
            'and on (job, instance) gatehouse_queue_depth{lane="offline"} > 0'
        ),
        hold="10m",
        severity="ticket",
        summary="{{ $labels.instance }} has documents, and finishes none",
        description="Sessions leave them no time, or computing them fails.",
    ),
)
_STORE: Final = (
    Alert(
        name="GatehouseStoreLags",
        expression="gatehouse_store_lag_seconds > 5",
        hold="1m",
        severity="page",
        summary="{{ $labels.instance }} has a change that was not stored for {{ $value | humanizeDuration }}",
        description="A crash now loses what was written since. Beyond --max-store-lag-seconds writes are refused.",
    ),
    Alert(
        name="GatehouseStoreFails",
        # For five minutes: a store that was away for a moment, as when Redis fails over, has lost nothing.
        expression="sum by (job, instance, call) (rate(gatehouse_store_failures_total[4m])) > 0",
        hold="5m",
        severity="page",
        summary="The state store of {{ $labels.instance }} fails: {{ $labels.call }}",
        description="Sessions that rest in the store cannot be woken; in sync mode writes fail.",
    ),
    Alert(
        name="GatehouseCheckpointOld",
        expression=(
            "time() - gatehouse_store_success_timestamp_seconds > 60 "
            "and on (job, instance) gatehouse_store_unsaved_sessions > 0"
        ),
        hold="1m",
        severity="page",
        summary="The last change that {{ $labels.instance }} stored is {{ $value | humanizeDuration }} old",
        description="Sessions wait to be stored, and the store takes nothing.",
    ),
)

ALERTS: Final = (
    *(burning(objective, window) for objective in OBJECTIVES for window in WINDOWS),
    *_STATE,
    *_FULL,
    *_STORE,
)
