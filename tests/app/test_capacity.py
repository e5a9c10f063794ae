"""What metrics are told of the room that the server has."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gatehouse_server.app.capacity import capacity_of
from gatehouse_server.settings import Settings
from gatehouse_server.telemetry.metrics import Metrics
from gatehouse_server.telemetry.server_metrics import ServerMetrics


def test_a_device_that_is_lost_costs_its_own_metrics_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some errors CUDA answers no call of the process any more; all else is told as before."""

    def lost() -> Any:
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lost)
    built: Any = SimpleNamespace(sessions=SimpleNamespace(rows_in_use=dict))
    server = ServerMetrics(unready=dict, unhealthy=dict)
    server.serving(capacity_of(Settings(max_sessions=7), built, "cuda"))
    metrics = Metrics()
    metrics.add_server(server)
    values = {sample.name: sample.value for family in metrics.registry.collect() for sample in family.samples}
    assert values["gatehouse_ready"] == 1
    assert 7 in values.values()
    assert "gatehouse_device_memory_bytes" not in values
