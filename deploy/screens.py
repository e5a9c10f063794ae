"""The dashboard's content: four questions, and the panels that answer them."""

from typing import Final

from deploy.objectives import OBJECTIVES, OFFLINE, OFFLINE_SECONDS, ONLINE, ONLINE_SECONDS
from deploy.panel import Panel, Query, Screen

_HERE = 'instance=~"$instance"'
_OF_MODEL = 'instance=~"$instance", model=~"$model"'
_RATE = "[$__rate_interval]"
_LATENCY, _AVAILABILITY, _OFFLINE = OBJECTIVES


def _quantile(q: float, metric: str, labels: str, by: str = "") -> str:
    grouping = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({grouping}) (rate({metric}_bucket{{{labels}}}{_RATE})))"


def _rate(metric: str, labels: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{labels}}}{_RATE}))"


def _quantiles(metric: str, labels: str) -> tuple[Query, ...]:
    return tuple(
        Query(_quantile(q, metric, labels), name)
        for q, name in ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))
    )


def _share_within(operations: str, seconds: float) -> str:
    """Of the operations in the range that is shown; empty where there were none, of which the share is no number."""
    labels = f"{_HERE}, {operations}"
    return (
        f'sum(rate(gatehouse_result_seconds_bucket{{{labels}, le="{seconds}"}}[$__range])) '
        f"/ sum(rate(gatehouse_result_seconds_count{{{labels}}}[$__range])) >= 0"
    )


UP: Final = Screen(
    question="Is it up, and honest?",
    panels=(
        Panel(
            title="Servers ready",
            description="How many take work. Fewer than are deployed: /readyz of the others says why.",
            queries=(Query(f"sum(gatehouse_ready{{{_HERE}}})"),),
            kind="stat",
            unit="none",
            warn=0.5,
            low_is_bad=True,
            width=3,
            height=4,
        ),
        Panel(
            title="Servers stuck",
            description="Their engine computes nothing any more: they have to be restarted, which liveness does.",
            queries=(Query(f"sum(1 - gatehouse_healthy{{{_HERE}}})"),),
            kind="stat",
            unit="none",
            alarm=1,
            width=3,
            height=4,
        ),
        Panel(
            title="Good operations",
            description="Share of operations without a failure of the server's own, in this range. 99.9 % is promised.",
            queries=(
                Query(
                    "1 - (sum(rate(gatehouse_operations_total{"
                    f'{_HERE}, code=~"INTERNAL|UNKNOWN|DATA_LOSS|UNAVAILABLE|RESOURCE_EXHAUSTED|DEADLINE_EXCEEDED"'
                    "}[$__range])) or vector(0)) / sum(rate(gatehouse_operations_total{"
                    f"{_HERE}}}[$__range]))"
                ),
            ),
            kind="stat",
            unit="percentunit",
            warn=0.9995,
            alarm=_AVAILABILITY.target,
            low_is_bad=True,
            width=4,
            height=4,
        ),
        Panel(
            title=f"Answers within {1000 * ONLINE_SECONDS:g} ms",
            description="Share of writes and suggestions answered in time, in this range. 99 % is promised.",
            queries=(Query(_share_within(ONLINE, ONLINE_SECONDS)),),
            kind="stat",
            unit="percentunit",
            warn=0.995,
            alarm=_LATENCY.target,
            low_is_bad=True,
            width=4,
            height=4,
        ),
        Panel(
            title=f"Documents within {OFFLINE_SECONDS:g} s",
            description="Share that had their result so soon after they were read, in this range. 99 % is promised.",
            queries=(Query(_share_within(OFFLINE, OFFLINE_SECONDS)),),
            kind="stat",
            unit="percentunit",
            warn=0.995,
            alarm=_OFFLINE.target,
            low_is_bad=True,
            width=4,
            height=4,
        ),
        Panel(
            title="Models that failed",
            description="Their folders are broken. `gatehouse status` says what to mend.",
            queries=(Query(f"sum(gatehouse_model_failed{{{_OF_MODEL}}})"),),
            kind="stat",
            unit="none",
            warn=1,
            width=3,
            height=4,
        ),
        Panel(
            title="Serving for",
            description="Since the last start of the youngest server. Short again and again: it keeps restarting.",
            queries=(Query(f"min(time() - gatehouse_serving_since_timestamp_seconds{{{_HERE}}})"),),
            kind="stat",
            unit="s",
            width=3,
            height=4,
        ),
        Panel(
            title="Operations by outcome",
            description="Answered operations a second by the code of their answer. OK should be nearly all.",
            queries=(Query(_rate("gatehouse_operations_total", _HERE, "code") + " > 0", "{{code}}"),),
            unit="ops",
            stacked=True,
        ),
        Panel(
            title="Failures",
            description=(
                "Operations that failed, by kind and code. INTERNAL: the log has a correlation_id for each. "
                "RESOURCE_EXHAUSTED: add a server. INVALID_ARGUMENT and NOT_FOUND are the callers'."
            ),
            queries=(
                Query(
                    _rate("gatehouse_operations_total", f'{_HERE}, code!="OK"', "operation, code") + " > 0",
                    "{{operation}} {{code}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            title="Calls that ended",
            description="gRPC calls a second by method and code; a stream is one call.",
            queries=(Query(_rate("gatehouse_requests_total", _HERE, "method, code"), "{{method}} {{code}}"),),
            unit="reqps",
        ),
        Panel(
            title="Refused work",
            description="By reason. queue_full: add a server. sessions_full: raise the limit. store_lagging: mend it.",
            queries=(Query(_rate("gatehouse_refused_total", _HERE, "reason"), "{{reason}}"),),
            unit="ops",
        ),
        Panel(
            title="Requests that cannot be read",
            description=(
                "Calls without a request to look at. unknown_method, undecodable: a client of another version, or no "
                "client of ours. incomplete: larger than 16 MiB, or the caller left."
            ),
            queries=(Query(_rate("gatehouse_unreadable_requests_total", _HERE, "reason"), "{{reason}}"),),
            unit="reqps",
        ),
        Panel(
            title="Start-up",
            description="How long each stage of the last start took. Rolling updates wait for all of it.",
            queries=(Query(f"max by (stage) (gatehouse_start_stage_seconds{{{_HERE}}})", "{{stage}}"),),
            kind="bargauge",
            unit="s",
        ),
        Panel(
            title="What serves",
            description="Versions by server. Different ones for long: an update is stuck.",
            queries=(
                Query(
                    f"gatehouse_build_info{{{_HERE}}}",
                    "{{instance}}: {{version}}, torch {{torch}}, Python {{python}}, {{device}}",
                ),
            ),
            kind="table",
            unit="none",
        ),
    ),
)

FAST: Final = Screen(
    question="Is it fast?",
    panels=(
        Panel(
            title="Writes and suggestions",
            description="From arrival to answer. Above 50 ms: the panels below tell which stage it is.",
            queries=_quantiles("gatehouse_result_seconds", f'{_HERE}, operation=~"write|suggest"'),
            unit="s",
            warn=0.02,
            alarm=0.05,
            width=8,
        ),
        Panel(
            title="99 % of each kind of operation",
            description="From arrival to answer. Documents may take long: sessions come first.",
            queries=(
                Query(_quantile(0.99, "gatehouse_result_seconds", _HERE, "operation"), "{{operation}}"),
            ),
            unit="s",
            width=8,
        ),
        Panel(
            title="Where a write's time goes",
            description="Means that add up. queue: too much comes. compute: the tick. publish: the event loop.",
            queries=(
                Query(
                    f"sum by (stage) (rate(gatehouse_stage_seconds_sum{{{_HERE}}}{_RATE})) / on () group_left () "
                    f'sum(rate(gatehouse_stage_seconds_count{{{_HERE}, stage="queue"}}{_RATE}))',
                    "{{stage}}",
                ),
            ),
            unit="s",
            stacked=True,
            width=8,
        ),
        Panel(
            title="Wait for a tick",
            description="Some ticks are normal. Beyond that more comes than can be computed: add a server.",
            queries=_quantiles("gatehouse_online_queue_seconds", _OF_MODEL),
            unit="s",
            warn=0.02,
            alarm=0.05,
            width=6,
        ),
        Panel(
            title="Forming a tick",
            description="Should be far below computing. If not: report it, with the batch size.",
            queries=_quantiles("gatehouse_online_form_seconds", _OF_MODEL),
            unit="s",
            width=6,
        ),
        Panel(
            title="Computing a tick",
            description="Grows with the batch. Slower at the same batch: something else has the processor.",
            queries=_quantiles("gatehouse_online_compute_seconds", _OF_MODEL),
            unit="s",
            width=6,
        ),
        Panel(
            title="Handing out a tick",
            description="Should be far below computing. If not: many small messages, or large outputs.",
            queries=_quantiles("gatehouse_online_publish_seconds", _OF_MODEL),
            unit="s",
            width=6,
        ),
        Panel(
            title="Event loop's lag",
            description="How late the thread that talks gRPC is. Above 100 ms: give it a core, or join messages.",
            queries=_quantiles("gatehouse_event_loop_lag_seconds", _HERE),
            unit="s",
            warn=0.05,
            alarm=0.1,
            width=8,
        ),
        Panel(
            title="First results, 99 %",
            description="What somebody who waits sees first: of a generation its first step, of a stream one document.",
            queries=(
                Query(_quantile(0.99, "gatehouse_first_result_seconds", _HERE, "operation"), "{{operation}}"),
            ),
            unit="s",
            width=8,
        ),
        Panel(
            title="Calls, 99 %",
            description="Duration by method; streams last as long as their clients like.",
            queries=(
                Query(
                    _quantile(0.99, "gatehouse_request_seconds", f'{_HERE}, method!~".*Stream.*"', "method"),
                    "{{method}}",
                ),
            ),
            unit="s",
            width=8,
        ),
        Panel(
            title="Documents: wait and work",
            description="99 % of them. Waiting grows with what clients send ahead; it is no harm by itself.",
            queries=(
                Query(_quantile(0.99, "gatehouse_offline_queue_seconds", _OF_MODEL), "waiting"),
                Query(_quantile(0.99, "gatehouse_offline_form_seconds", _OF_MODEL), "forming"),
                Query(_quantile(0.99, "gatehouse_offline_compute_seconds", _OF_MODEL), "computing"),
            ),
            unit="s",
            width=12,
        ),
        Panel(
            title="State store",
            description="99 % of each kind of request. Slow `apply` and `claim`: its disk, or the network to it.",
            queries=(Query(_quantile(0.99, "gatehouse_store_seconds", _HERE, "call"), "{{call}}"),),
            unit="s",
            warn=0.1,
            alarm=1,
            width=12,
        ),
    ),
)

FULL: Final = Screen(
    question="Is it full?",
    panels=(
        Panel(
            title="Queue",
            description=(
                "Unanswered operations (online) and documents (offline), each as a share of what is allowed. When one "
                "is full, such work is refused."
            ),
            queries=(
                Query(
                    f"gatehouse_queue_depth{{{_HERE}}} / on (job, instance) group_left "
                    f"gatehouse_queue_capacity{{{_HERE}}}",
                    "{{instance}} {{lane}}",
                ),
            ),
            unit="percentunit",
            warn=0.5,
            alarm=0.8,
            most=1,
            width=6,
        ),
        Panel(
            title="State table",
            description="Rows in use, as a share. A full one moves sessions out, which costs each of them a wake-up.",
            queries=(
                Query(
                    f"gatehouse_state_slots_used{{{_OF_MODEL}}} / gatehouse_state_slots_capacity{{{_OF_MODEL}}}",
                    "{{instance}} {{model}}",
                ),
            ),
            unit="percentunit",
            warn=0.8,
            alarm=0.95,
            most=1,
            width=6,
        ),
        Panel(
            title="Sessions",
            description="By where they are: in the state table, packed in memory, known to the store.",
            queries=(Query(f"sum by (tier) (gatehouse_sessions_by_tier{{{_HERE}}})", "{{tier}}"),),
            width=6,
        ),
        Panel(
            title="Sessions by model",
            description="In memory. A model that nobody uses could be left out.",
            queries=(
                Query(
                    f"sum by (model, version) (gatehouse_sessions_active{{{_OF_MODEL}}})",
                    "{{model}}@{{version}}",
                ),
            ),
            width=6,
        ),
        Panel(
            title="Memory",
            description="Of the process, and what of it are states and models. Compare it with the limit.",
            queries=(
                Query(f'sum(process_resident_memory_bytes{{{_HERE}, job="gatehouse"}})', "process"),
                Query(f"sum by (tier) (gatehouse_state_bytes{{{_HERE}}})", "states, {{tier}}"),
                Query(f"sum(gatehouse_model_memory_bytes{{{_OF_MODEL}}})", "models"),
            ),
            unit="bytes",
            width=6,
        ),
        Panel(
            title="GPU's memory",
            description="Empty on a CPU. Less than a twentieth free: fewer live sessions, or fewer models.",
            queries=(
                Query(
                    f"sum by (instance, kind) (gatehouse_device_memory_bytes{{{_HERE}}})",
                    "{{instance}} {{kind}}",
                ),
            ),
            unit="bytes",
            width=6,
        ),
        Panel(
            title="Processor",
            description="Cores in use by server. At its limit: what comes more will wait.",
            queries=(
                Query(f'rate(process_cpu_seconds_total{{{_HERE}, job="gatehouse"}}{_RATE})', "{{instance}}"),
            ),
            unit="none",
            width=6,
        ),
        Panel(
            title="Open calls",
            description="By method. Streams stay open; unary calls that pile up are waiting.",
            queries=(
                Query(f"sum by (method) (gatehouse_requests_in_flight{{{_HERE}}})", "{{method}}"),
                Query(f"sum(gatehouse_continuations_active{{{_HERE}}})", "continuations"),
            ),
            width=6,
        ),
        Panel(
            title="Store's lag",
            description="Age of the oldest change that is not stored: what a crash would cost now.",
            queries=(Query(f"gatehouse_store_lag_seconds{{{_HERE}}}", "{{instance}}"),),
            unit="s",
            warn=1,
            alarm=5,
            width=6,
        ),
        Panel(
            title="Unsaved sessions",
            description="Sessions with something that the store does not have yet. Growing: the store is too slow.",
            queries=(Query(f"gatehouse_store_unsaved_sessions{{{_HERE}}}", "{{instance}}"),),
            width=6,
        ),
        Panel(
            title="Room for sessions",
            description="Sessions as a share of those that may be. When it is full, new ones are refused.",
            queries=(
                Query(
                    f'max by (instance) (sum without (tier) (gatehouse_sessions_by_tier{{{_HERE}, tier!="store"}}) '
                    f'or gatehouse_sessions_by_tier{{{_HERE}, tier="store"}}) '
                    f'/ on (instance) gatehouse_sessions_capacity{{{_HERE}, tier="total"}}',
                    "{{instance}}",
                ),
            ),
            unit="percentunit",
            warn=0.8,
            alarm=0.9,
            most=1,
            width=6,
        ),
        Panel(
            title="Store's failures",
            description="By kind of request. The log and /readyz have the cause.",
            queries=(Query(_rate("gatehouse_store_failures_total", _HERE, "call"), "{{call}}"),),
            unit="ops",
            width=6,
        ),
    ),
)

EFFICIENT: Final = Screen(
    question="Is it efficient?",
    panels=(
        Panel(
            title="Steps of sessions",
            description="Steps a second that sessions consumed.",
            queries=(
                Query(
                    _rate("gatehouse_online_steps_total", _OF_MODEL, "model, version"),
                    "{{model}}@{{version}}",
                ),
            ),
            unit="ops",
            width=6,
        ),
        Panel(
            title="Sessions in a tick",
            description="More at a time is cheaper for each. Always 1 under load: clients wait for every answer.",
            queries=(
                *_quantiles("gatehouse_online_batch_sessions", _OF_MODEL),
                Query(
                    f"sum(rate(gatehouse_online_batch_sessions_sum{{{_OF_MODEL}}}{_RATE})) "
                    f"/ sum(rate(gatehouse_online_batch_sessions_count{{{_OF_MODEL}}}{_RATE}))",
                    "mean",
                ),
            ),
            unit="none",
            width=6,
        ),
        Panel(
            title="Outputs for each step",
            description="Rows through the output layer. 1 for keyboards; more: clients ask for every step.",
            queries=(
                Query(
                    f"sum by (model) (rate(gatehouse_online_outputs_total{{{_OF_MODEL}}}{_RATE})) "
                    f"/ sum by (model) (rate(gatehouse_online_steps_total{{{_OF_MODEL}}}{_RATE}))",
                    "{{model}}",
                ),
            ),
            unit="none",
            width=6,
        ),
        Panel(
            title="Processor time for a step",
            description="Of the whole process, for each step of sessions and documents. Rises when ticks get small.",
            queries=(
                Query(
                    f'sum(rate(process_cpu_seconds_total{{{_HERE}, job="gatehouse"}}{_RATE})) '
                    f"/ ((sum(rate(gatehouse_online_steps_total{{{_HERE}}}{_RATE})) or vector(0)) "
                    f"+ (sum(rate(gatehouse_offline_steps_total{{{_HERE}}}{_RATE})) or vector(0)) > 0)",
                    "seconds",
                ),
            ),
            unit="s",
            width=6,
        ),
        Panel(
            title="Documents",
            description="Computed a second.",
            queries=(
                Query(
                    _rate("gatehouse_offline_documents_total", _OF_MODEL, "model, version"),
                    "{{model}}@{{version}}",
                ),
            ),
            unit="ops",
            width=6,
        ),
        Panel(
            title="Padding",
            description="Steps computed for documents beyond their own. Above 10 %: lengths differ too much.",
            queries=(
                Query(
                    f"sum by (model) (rate(gatehouse_offline_computed_steps_total{{{_OF_MODEL}}}{_RATE})) "
                    f"/ sum by (model) (rate(gatehouse_offline_steps_total{{{_OF_MODEL}}}{_RATE})) - 1",
                    "{{model}}",
                ),
            ),
            unit="percentunit",
            warn=0.1,
            width=6,
        ),
        Panel(
            title="Documents in a batch",
            description="Many short ones at a time are cheaper. Always 1: clients send one and wait.",
            queries=_quantiles("gatehouse_offline_batch_documents", _OF_MODEL),
            unit="none",
            width=6,
        ),
        Panel(
            title="Generated steps",
            description="Of continuations a second, and how those ended.",
            queries=(
                Query(f"sum(rate(gatehouse_generated_steps_total{{{_HERE}}}{_RATE}))", "steps"),
                Query(_rate("gatehouse_continuations_total", _HERE, "reason"), "ended by {{reason}}"),
            ),
            unit="ops",
            width=6,
        ),
        Panel(
            title="Writes out of the ordinary",
            description="repeated: retries, answered again. behind, conflicted: replays after a crash, or two writers.",
            queries=(Query(_rate("gatehouse_writes_total", _HERE, "event"), "{{event}}"),),
            unit="ops",
            width=8,
        ),
        Panel(
            title="Sessions come and go",
            description="woken and rested often: allow more live sessions. moved, recovered: the balancer mixes.",
            queries=(Query(_rate("gatehouse_sessions_total", _HERE, "event"), "{{event}}"),),
            unit="ops",
            width=8,
        ),
        Panel(
            title="Dropped work",
            description="Computed for nobody, or not at all: deadline passed, caller left, server left.",
            queries=(Query(_rate("gatehouse_dropped_total", _HERE, "reason"), "{{reason}}"),),
            unit="ops",
            width=8,
        ),
    ),
)

SCREENS: Final = (UP, FAST, FULL, EFFICIENT)

NOT_SHOWN: Final = {
    "gatehouse_model_changes_total": "counts what operators did; the log has a line for each change",
    "gatehouse_model_load_seconds": "a part of the start-up panel's stage `models`; `gatehouse models show` has it",
    "gatehouse_store_success_timestamp_seconds": "grows while nobody writes; the alert GatehouseCheckpointOld reads it",
    "gatehouse_model_parameters": "does not change; `gatehouse models show` has it. The variable `model` reads it.",
}
"""Metrics that no panel shows, and why."""
