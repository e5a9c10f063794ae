"""The models that sessions run on."""

from pathlib import Path
from typing import Any

import pytest
from gatehouse_server.engine.observer import SilentObserver
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.errors import ModelFailed, ModelFolderError
from gatehouse_server.models.registry import Registry
from gatehouse_server.network.spec import FeatureInputSpec
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.limits import SessionLimits


def backend_of(network: Any, **options: Any) -> TorchOnlineBackend:
    """A backend, for which there is no room where the network reads features."""
    if isinstance(network.spec.input, FeatureInputSpec):
        raise MemoryError("of tables\nthere is no end")
    return TorchOnlineBackend(network, **options)


def test_a_model_on_which_no_session_can_run_fails_alone(models: Path) -> None:
    """No room for its table, say: it is told as failed as at a later load, and the others are hosted."""
    registry = Registry.load([models], embedded=None)
    motion = registry.get("motion")
    hosts = Hosts(
        registry,
        limits=SessionLimits(max_sessions=64),
        batching=OnlineBatching(),
        observer=SilentObserver(),
        clock=lambda: 0.0,
        backend_of=backend_of,
    )
    assert [hosted.key for hosted in hosts] == ["keyboard@1"]
    assert [model.key for model in registry.models] == ["keyboard@1", "topics@1"]
    assert registry.leaving == ()
    (failure,) = registry.failed
    assert (failure.key, failure.path) == ("motion@1", models / "motion" / "1")
    assert "sessions cannot run on it (MemoryError: of tables there is no end); free" in failure.problem
    with pytest.raises(ModelFailed):
        registry.get("motion")
    with pytest.raises(ModelFolderError, match="sessions cannot run on it"):
        hosts.make(motion)
