"""The engine's present fill as Prometheus series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from gatehouse_server.engine.observer import EngineGauges


def gauge_families(gauges: EngineGauges | None, queue_depth: Mapping[str, int]) -> Iterator[Metric]:
    """`gauges` are absent before the first turn; `queue_depth` is by lane."""
    active = GaugeMetricFamily("gatehouse_sessions_active", "Sessions that live", labels=["model", "version"])
    for key, amount in (gauges.sessions_by_model if gauges else {}).items():
        active.add_metric(name_and_version(key), amount)
    yield active
    tiers = GaugeMetricFamily("gatehouse_sessions_by_tier", "Sessions by where they are", labels=["tier"])
    sizes = GaugeMetricFamily("gatehouse_state_bytes", "Bytes that sessions take in memory", labels=["tier"])
    if gauges is not None:
        tiers.add_metric(["live"], gauges.live_sessions)
        tiers.add_metric(["host"], gauges.packed_sessions)
        tiers.add_metric(["store"], gauges.stored_sessions)
        sizes.add_metric(["live"], gauges.state_bytes)
        sizes.add_metric(["host"], gauges.packed_bytes)
    yield from (tiers, sizes)
    yield GaugeMetricFamily(
        "gatehouse_continuations_active",
        "Continuations under way",
        value=gauges.continuations if gauges else 0,
    )
    yield GaugeMetricFamily(
        "gatehouse_store_unsaved_sessions",
        "Sessions with something that the state store does not have yet",
        value=gauges.unsaved_sessions if gauges else 0,
    )
    yield GaugeMetricFamily(
        "gatehouse_store_lag_seconds",
        "Age of the oldest change that the state store does not have yet",
        value=gauges.lag_seconds if gauges else 0,
    )
    queues = GaugeMetricFamily(
        "gatehouse_queue_depth", "Operations submitted and not yet answered", labels=["lane"]
    )
    for lane, depth in queue_depth.items():
        queues.add_metric([lane], depth)
    yield queues


def name_and_version(key: str) -> list[str]:
    """The labels of a model `name@version`."""
    name, _, version = key.partition("@")
    return [name, version]
