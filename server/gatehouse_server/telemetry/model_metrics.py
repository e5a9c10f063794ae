"""What is known of the models once they are loaded, and of the build that serves them."""

from __future__ import annotations

import platform
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge

from gatehouse_server.models.registry import FailedModel, Registry


def register_models(registry: CollectorRegistry, models: Registry) -> None:
    """Adds a series for each model; those that failed to load are in `gatehouse_model_failed`."""
    labels = ["model", "version"]
    load = Gauge("gatehouse_model_load_seconds", "Duration of loading the model", labels, registry=registry)
    parameters = Gauge("gatehouse_model_parameters", "Parameters of the model", labels, registry=registry)
    memory = Gauge(
        "gatehouse_model_memory_bytes", "Bytes of the model's weights and tables", labels, registry=registry
    )
    failed = Gauge(
        "gatehouse_model_failed", "1 when the model's folder could not be loaded", labels, registry=registry
    )
    for model in models.models:
        load.labels(model.name, model.version).set(model.load_seconds)
        parameters.labels(model.name, model.version).set(model.parameter_count)
        memory.labels(model.name, model.version).set(model.memory_bytes)
        failed.labels(model.name, model.version).set(0)
    for failure in models.failed:
        failed.labels(*_name_and_version(failure)).set(1)


def register_build(registry: CollectorRegistry, versions: Mapping[str, str], device: str) -> None:
    """Adds the versions of what serves; `versions` has those of gatehouse and torch."""
    info = Gauge(
        "gatehouse_build_info",
        "1; the labels tell what serves",
        ["version", "torch", "python", "device"],
        registry=registry,
    )
    info.labels(versions["gatehouse"], versions["torch"], platform.python_version(), device).set(1)


def _name_and_version(failure: FailedModel) -> tuple[str, str]:
    name, _, version = failure.key.partition("@")
    return name, version
