"""How the server as a whole is, told in series."""

import asyncio
import time

import pytest
from gatehouse_server.telemetry.metrics import Metrics
from gatehouse_server.telemetry.server_metrics import Capacity, ServerMetrics


def test_readiness_and_capacity_are_told() -> None:
    """Asked when somebody looks, so that the series are never older than the scrape."""
    problems: dict[str, str] = {"phase": "models are being loaded"}
    server = ServerMetrics(unready=lambda: problems, unhealthy=dict)
    metrics = Metrics()
    metrics.add_server(server)
    value = metrics.registry.get_sample_value
    assert (value("gatehouse_ready"), value("gatehouse_healthy")) == (0, 1)
    assert value("gatehouse_serving_since_timestamp_seconds") is None

    problems.clear()
    in_use = 3
    server.stage("models", 1.5)
    server.serving(
        Capacity(
            queue=100,
            live_sessions=10,
            resident_sessions=20,
            sessions=30,
            rows=lambda: {"keyboard@1": (in_use, 90)},
            device_memory=lambda: {"free": 7},
        )
    )
    keyboard = {"model": "keyboard", "version": "1"}
    assert value("gatehouse_ready") == 1
    assert value("gatehouse_start_stage_seconds", {"stage": "models"}) == 1.5
    assert value("gatehouse_queue_capacity") == 100
    tiers = [value("gatehouse_sessions_capacity", {"tier": tier}) for tier in ("live", "host", "total")]
    assert tiers == [10, 20, 30]
    assert value("gatehouse_state_slots_used", keyboard) == 3
    in_use = 4
    assert value("gatehouse_state_slots_used", keyboard) == 4
    assert value("gatehouse_state_slots_capacity", keyboard) == 90
    assert value("gatehouse_device_memory_bytes", {"kind": "free"}) == 7
    assert value("gatehouse_serving_since_timestamp_seconds") == pytest.approx(time.time(), abs=60)


async def test_a_late_event_loop_is_told() -> None:
    """Whatever blocks the loop is seen as its lag."""
    server = ServerMetrics(unready=dict, unhealthy=dict)
    metrics = Metrics()
    metrics.add_server(server)
    watching = asyncio.create_task(server.watch_lag())
    await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251 - what blocks the loop is the point
    while not metrics.registry.get_sample_value(  # noqa: ASYNC110 - nobody sets an event
        "gatehouse_event_loop_lag_seconds_count"
    ):
        await asyncio.sleep(0.01)
    watching.cancel()
    late = metrics.registry.get_sample_value("gatehouse_event_loop_lag_seconds_sum")
    assert late is not None
    assert late > 0.1


def test_open_calls_are_told() -> None:
    """A call counts from its beginning to its end."""
    metrics = Metrics()
    method = "gatehouse.v1.OnlineService/Stream"
    for _ in range(3):
        metrics.requests.began(method)
    metrics.requests.request(method, "OK", 0.5)
    assert metrics.registry.get_sample_value("gatehouse_requests_in_flight", {"method": method}) == 2


def test_stages_of_operations_add_up() -> None:
    """What is neither waiting nor computing is publishing; operations that failed have no stages."""
    metrics = Metrics()
    metrics.requests.answered("write", "OK", [0.5, 0.25], stages=(0.25, 0.375))
    metrics.requests.answered("write", "NOT_FOUND", [4.0])
    value = metrics.registry.get_sample_value

    def stage(name: str) -> float | None:
        return value("gatehouse_stage_seconds_sum", {"operation": "write", "stage": name})

    assert (stage("queue"), stage("compute"), stage("publish")) == (0.25, 0.375, 0.125)
    assert value("gatehouse_stage_seconds_count", {"operation": "write", "stage": "queue"}) == 2
