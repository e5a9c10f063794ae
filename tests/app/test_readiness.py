"""Liveness and readiness: busy is neither dead nor unready."""

from dataclasses import dataclass
from typing import Any, cast

import pytest
from gatehouse_server.app.readiness import Phase, Readiness
from gatehouse_server.engine.loop import Engine
from gatehouse_server.models.registry import FailedModel, Registry


@dataclass
class Loaded:
    """A model, as far as readiness cares."""

    name: str
    version: str = "1"

    @property
    def key(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass
class FakeEngine:
    """An engine whose state the test decides."""

    failure: BaseException | None = None
    stuck_seconds: float = 0.0

    def stuck_for_seconds(self) -> float:
        return self.stuck_seconds


def readiness(engine: FakeEngine, *required: str, failed: Any = ()) -> Readiness:
    """A server that serves `keyboard@1`."""
    watched = Readiness(required=required, stuck_turn_seconds=60.0)
    watched.watch(cast(Engine, engine), Registry([cast(Any, Loaded("keyboard"))], failed))
    watched.phase = Phase.SERVING
    return watched


def test_it_is_healthy_and_not_ready_while_loading() -> None:
    """Before there is an engine."""
    loading = Readiness(required=(), stuck_turn_seconds=60.0)
    assert loading.unhealthy() == {}
    assert "phase" in loading.unready()


def test_a_busy_engine_is_healthy_and_ready() -> None:
    """A turn may take up to the limit."""
    assert readiness(FakeEngine(stuck_seconds=60.0)).unhealthy() == {}
    assert readiness(FakeEngine(stuck_seconds=60.0)).unready() == {}


@pytest.mark.parametrize(
    "engine", [FakeEngine(stuck_seconds=61.0), FakeEngine(failure=ValueError("a secret"))]
)
def test_a_stuck_or_failed_engine_is_neither(engine: FakeEngine) -> None:
    """And the page tells the kind of failure, not its text."""
    problems = readiness(engine).unhealthy()
    assert set(problems) == {"engine"}
    assert "secret" not in str(problems)
    assert "engine" in readiness(engine).unready()


def test_a_draining_server_is_healthy_and_not_ready() -> None:
    """So that it gets no new work, and is not killed."""
    draining = readiness(FakeEngine())
    draining.phase = Phase.DRAINING
    assert draining.unhealthy() == {}
    assert "phase" in draining.unready()


def test_a_required_model_that_is_missing_makes_unready() -> None:
    """By name or by version; a broken one says why; one that is not required makes nothing unready."""
    broken = FailedModel(key="topics@2", path=cast(Any, None), problem="weights are truncated")
    assert readiness(FakeEngine(), "keyboard", "keyboard@1").unready() == {}
    assert set(readiness(FakeEngine(), "keyboard@2", "other").unready()) == {
        "model keyboard@2",
        "model other",
    }
    assert readiness(FakeEngine(), "topics", failed=[broken]).unready() == {
        "model topics": "weights are truncated"
    }
    assert readiness(FakeEngine(), failed=[broken]).unready() == {}
