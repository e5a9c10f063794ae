"""What the engine and the calls tell arrives in the series, and every series is documented."""

import re
import threading
from pathlib import Path
from typing import cast

import pytest
from gatehouse_server.engine.observer import EngineGauges, Happening, Observer, OfflineBatch, OnlineTick
from gatehouse_server.models.registry import Registry
from gatehouse_server.telemetry.metrics import Metrics
from gatehouse_server.telemetry.server_metrics import Capacity, ServerMetrics
from prometheus_client import Metric

from tests.tiny import write_tiny_classifier, write_tiny_keyboard

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
KEYBOARD = {"model": "keyboard", "version": "1"}
TICK = OnlineTick(
    model="keyboard@1",
    sessions=3,
    steps=7,
    outputs=2,
    form_seconds=0.0004,
    compute_seconds=0.004,
    publish_seconds=0.0002,
    queue_seconds=[0.0001, 0.002, 3.0],
)
BATCH = OfflineBatch(
    model="topics@1",
    documents=2,
    steps=30,
    computed_steps=40,
    form_seconds=0.001,
    compute_seconds=0.1,
    queue_seconds=[0.01, 0.02],
)


@pytest.fixture
def metrics(tmp_path: Path) -> Metrics:
    """Metrics of a server with a model, and with one that failed, after some work of each kind."""
    write_tiny_keyboard(tmp_path / "keyboard" / "1")
    (write_tiny_classifier(tmp_path / "topics" / "2") / "config.json").unlink()
    metrics = Metrics()
    metrics.add_models(Registry.load([tmp_path], embedded=None), ["loaded", "unloaded"])
    server = ServerMetrics(unready=dict, unhealthy=dict)
    server.serving(
        Capacity(queue=1, live_sessions=1, resident_sessions=1, sessions=1, rows=dict, device_memory=dict)
    )
    metrics.add_server(server)
    metrics.add_build({"gatehouse": "1", "torch": "2"}, "cpu")
    metrics.add_process()
    observer: Observer = metrics.engine
    observer.online_tick(TICK)
    observer.offline_batch(BATCH)
    observer.gauges(
        EngineGauges(
            live_sessions=2,
            packed_sessions=1,
            stored_sessions=5,
            sessions_by_model={"keyboard@1": 3},
            state_bytes=1536,
            packed_bytes=700,
            unsaved_sessions=1,
            lag_seconds=0.25,
        )
    )
    metrics.requests.request("gatehouse.v1.OnlineService/Write", "OK", 0.004)
    metrics.requests.operations([("write", "OK", 0.004), ("document", "NOT_FOUND", 0.2)])
    return metrics


def test_a_tick_is_told(metrics: Metrics) -> None:
    """Counts, spans, batch size, and the wait of each operation."""
    value = metrics.registry.get_sample_value
    assert value("gatehouse_online_steps_total", KEYBOARD) == 7
    assert value("gatehouse_online_outputs_total", KEYBOARD) == 2
    assert value("gatehouse_online_queue_seconds_count", KEYBOARD) == 3
    assert value("gatehouse_online_queue_seconds_bucket", {**KEYBOARD, "le": "0.002"}) == 2
    assert value("gatehouse_online_queue_seconds_bucket", {**KEYBOARD, "le": "2.5"}) == 2
    assert value("gatehouse_online_queue_seconds_bucket", {**KEYBOARD, "le": "+Inf"}) == 3
    assert value("gatehouse_online_form_seconds_sum", KEYBOARD) == 0.0004
    assert value("gatehouse_online_compute_seconds_sum", KEYBOARD) == 0.004
    assert value("gatehouse_online_publish_seconds_sum", KEYBOARD) == 0.0002
    assert value("gatehouse_online_batch_sessions_sum", KEYBOARD) == 3


def test_a_batch_of_documents_is_told(metrics: Metrics) -> None:
    """Padding is what was computed beyond the steps of the documents."""
    value, labels = metrics.registry.get_sample_value, {"model": "topics", "version": "1"}
    assert value("gatehouse_offline_documents_total", labels) == 2
    assert value("gatehouse_offline_steps_total", labels) == 30
    assert value("gatehouse_offline_computed_steps_total", labels) == 40
    assert value("gatehouse_offline_queue_seconds_sum", labels) == pytest.approx(0.03)
    assert value("gatehouse_offline_batch_documents_sum", labels) == 2


def test_calls_of_the_store_are_told(metrics: Metrics) -> None:
    """How long each kind took, and how often it failed."""
    value = metrics.registry.get_sample_value
    metrics.engine.store_call("apply", 0.004, False)
    metrics.engine.store_call("apply", 0.002, True)
    assert value("gatehouse_store_seconds_sum", {"call": "apply"}) == 0.006
    assert value("gatehouse_store_failures_total", {"call": "apply"}) == 1
    assert value("gatehouse_store_failures_total", {"call": "claim"}) == 0


@pytest.mark.parametrize("happening", Happening)
def test_every_happening_has_a_series(happening: Happening) -> None:
    """Whatever the engine counts can be seen: exactly one series rises by the amount."""
    metrics = Metrics()

    def counters() -> dict[tuple[str, str], float]:
        return {
            (sample.name, str(sample.labels)): sample.value
            for family in metrics.registry.collect()
            for sample in family.samples
            if family.type == "counter"
        }

    before = counters()
    metrics.engine.happened(happening, 3)
    risen = {name: value - before[name] for name, value in counters().items() if value != before[name]}
    assert list(risen.values()) == [3]


def test_the_engine_does_not_wait_for_a_page_to_be_rendered(metrics: Metrics) -> None:
    """Samples are taken at once; what they become, and how slowly it is read, is no concern of the engine's."""
    page = metrics.engine.collect()
    next(iter(page))
    counting = threading.Thread(target=metrics.engine.happened, args=(Happening.SESSION_RESTED,), daemon=True)
    counting.start()
    counting.join(30)
    assert not counting.is_alive()
    assert list(page)


def test_fill_models_and_build_are_told(metrics: Metrics) -> None:
    """Gauges tell the present; a model that failed to load is a 1."""
    value = metrics.registry.get_sample_value
    metrics.engine.queue_depth = lambda: {"online": 5, "offline": 2}
    assert value("gatehouse_sessions_active", KEYBOARD) == 3
    assert value("gatehouse_state_bytes", {"tier": "live"}) == 1536
    assert value("gatehouse_state_bytes", {"tier": "host"}) == 700
    tiers = [value("gatehouse_sessions_by_tier", {"tier": tier}) for tier in ("live", "host", "store")]
    assert tiers == [2, 1, 5]
    assert value("gatehouse_store_unsaved_sessions") == 1
    assert value("gatehouse_store_lag_seconds") == 0.25
    assert [value("gatehouse_queue_depth", {"lane": lane}) for lane in ("online", "offline")] == [5, 2]
    assert value("gatehouse_model_failed", {"model": "topics", "version": "2"}) == 1
    assert value("gatehouse_model_failed", KEYBOARD) == 0
    assert cast(float, value("gatehouse_model_load_seconds", KEYBOARD)) > 0
    assert cast(float, value("gatehouse_model_parameters", KEYBOARD)) > 1000
    assert cast(float, value("process_resident_memory_bytes")) > 0


def test_calls_and_operations_are_told(metrics: Metrics) -> None:
    """By method or kind, and code; with their durations."""
    value = metrics.registry.get_sample_value
    labels = {"method": "gatehouse.v1.OnlineService/Write", "code": "OK"}
    assert value("gatehouse_requests_total", labels) == 1
    assert value("gatehouse_request_seconds_sum", {"method": labels["method"]}) == 0.004
    assert value("gatehouse_operations_total", {"operation": "document", "code": "NOT_FOUND"}) == 1
    assert value("gatehouse_result_seconds_sum", {"operation": "document"}) == 0.2


def test_nothing_is_lost_between_threads() -> None:
    """The engine thread and the event loop tell at the same time, while somebody reads."""
    metrics = Metrics()

    def tell() -> None:
        for _ in range(500):
            metrics.engine.online_tick(TICK)
            metrics.requests.operations([("write", "OK", 0.1)])

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        list(metrics.registry.collect())
    assert metrics.registry.get_sample_value("gatehouse_online_steps_total", KEYBOARD) == 4 * 500 * 7
    assert metrics.registry.get_sample_value("gatehouse_result_seconds_count", {"operation": "write"}) == 2000


def documented() -> dict[str, str]:
    """Each metric of the page with its kind."""
    rows = re.findall(r"^\| `(gatehouse_\w+)` \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(rows)


def shown(family: Metric) -> str:
    """The name under which people look for a metric."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_every_metric_is_documented_and_no_other(metrics: Metrics) -> None:
    """docs/operations.md has a row for each of our metrics, with its kind."""
    families = {
        shown(family): family.type
        for family in metrics.registry.collect()
        if family.name.startswith("gatehouse_")
    }
    assert documented() == families


def test_labels_are_of_closed_sets(metrics: Metrics) -> None:
    """No label could hold a session, a document or a text."""
    labels = {
        label
        for family in metrics.registry.collect()
        if family.name.startswith("gatehouse_")
        for sample in family.samples
        for label in sample.labels
    }
    closed = {
        "model",
        "version",
        "method",
        "code",
        "operation",
        "event",
        "reason",
        "le",
        "tier",
        "call",
        "change",
    }
    assert labels - closed == {"torch", "python", "device"}
