"""What is known of the models, what became of them while the server served, and of the build that serves them."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gatehouse_server.models.registry import Registry
from gatehouse_server.telemetry.engine_gauges import name_and_version

_LABELS = ["model", "version"]


class ModelMetrics(Collector):
    """A series for each model as they are at a scrape; those that failed to load are in `gatehouse_model_failed`.

    `changes` are the names of what can become of a model.
    """

    def __init__(self, models: Registry, changes: Sequence[str]) -> None:
        self._models = models
        self._lock = threading.Lock()
        self._changes = dict.fromkeys(changes, 0)

    def changed(self, change: str) -> None:
        """Something became of a model."""
        with self._lock:
            self._changes[change] += 1

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The samples of a scrape."""
        load = GaugeMetricFamily(
            "gatehouse_model_load_seconds", "Duration of loading the model", labels=_LABELS
        )
        parameters = GaugeMetricFamily(
            "gatehouse_model_parameters", "Parameters of the model", labels=_LABELS
        )
        memory = GaugeMetricFamily(
            "gatehouse_model_memory_bytes",
            "Bytes of the model's weights and tables, those that are leaving included",
            labels=_LABELS,
        )
        failed = GaugeMetricFamily(
            "gatehouse_model_failed",
            "1 when the model's folder had a defect when it was last looked at",
            labels=_LABELS,
        )
        served, leaving = self._models.models, self._models.leaving
        memory_bytes: dict[str, int] = {}
        for model in (*served, *leaving):
            memory_bytes[model.key] = memory_bytes.get(model.key, 0) + model.memory_bytes
        for key, amount in memory_bytes.items():
            memory.add_metric(name_and_version(key), amount)
        failures = dict.fromkeys((model.key for model in served), 0)
        failures |= {failure.key: 1 for failure in self._models.failed}
        for key, fails in failures.items():
            failed.add_metric(name_and_version(key), fails)
        for model in served:
            load.add_metric([model.name, model.version], model.load_seconds)
            parameters.add_metric([model.name, model.version], model.parameter_count)
        changes = CounterMetricFamily(
            "gatehouse_model_changes", "What became of models while the server served", labels=["change"]
        )
        with self._lock:
            for change, amount in self._changes.items():
                changes.add_metric([change], amount)
        yield from (load, parameters, memory, failed, changes)


def register_build(registry: CollectorRegistry, versions: Mapping[str, str], device: str) -> None:
    """Adds the versions of what serves; `versions` has those of gatehouse and torch."""
    info = Gauge(
        "gatehouse_build_info",
        "1; the labels tell what serves",
        ["version", "torch", "python", "device"],
        registry=registry,
    )
    info.labels(versions["gatehouse"], versions["torch"], platform.python_version(), device).set(1)
