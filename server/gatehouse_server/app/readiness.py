"""Whether the process lives and whether it should get work: what probes are told. Read from any thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from gatehouse_server.engine.loop import Engine
from gatehouse_server.models.registry import Registry


class Phase(Enum):
    """Where the server is in its life."""

    LOADING = "loading"
    SERVING = "serving"
    LEAVING = "leaving"
    """Work is still taken, and should go elsewhere."""
    DRAINING = "draining"


class Readiness:
    """Knows the phase, the engine and the required models. Busy is neither dead nor unready."""

    def __init__(self, *, required: Sequence[str], stuck_turn_seconds: float) -> None:
        self._required = required
        self._stuck_turn_seconds = stuck_turn_seconds
        self._engine: Engine | None = None
        self._registry: Registry | None = None
        self._store_problem: Callable[[], str | None] = lambda: None
        self._store_warning: Callable[[], str | None] = lambda: None
        self.phase = Phase.LOADING

    def watch(self, engine: Engine, registry: Registry) -> None:
        """From now on the engine is looked at, and it is known which of the required models are there."""
        self._engine = engine
        self._registry = registry

    def watch_store(self, problem: Callable[[], str | None], warning: Callable[[], str | None]) -> None:
        """From now on it counts why the state store keeps the server from taking writes, and what it may soon do."""
        self._store_problem = problem
        self._store_warning = warning

    def warnings(self) -> dict[str, str]:
        """What an operator should look at, though the server serves."""
        warning = self._store_warning()
        return {} if warning is None else {"state_store": warning}

    def unhealthy(self) -> dict[str, str]:
        """What only a restart can mend."""
        engine = self._engine
        if engine is None:
            return {}
        if engine.failure is not None:
            return {"engine": f"its thread ended with {type(engine.failure).__name__}; the log has more"}
        stuck_seconds = engine.stuck_for_seconds()
        if stuck_seconds > self._stuck_turn_seconds:
            return {"engine": f"one turn has been running for {stuck_seconds:.0f} s"}
        return {}

    def unready(self) -> dict[str, str]:
        """Why no work should be sent here."""
        problems = self.unhealthy()
        if self.phase is Phase.LOADING:
            problems["phase"] = "models are being loaded"
        if self.phase is Phase.LEAVING:
            problems["phase"] = "the server is about to shut down"
        if self.phase is Phase.DRAINING:
            problems["phase"] = "the server is shutting down"
        store = self._store_problem()
        if store is not None:
            problems["state_store"] = store
        if self._registry is not None:
            problems |= _missing(self._required, self._registry)
        return problems


def _missing(required: Sequence[str], registry: Registry) -> dict[str, str]:
    loaded = {name for model in registry.models for name in (model.key, model.name)}
    failures = {failure.key: failure.problem for failure in registry.failed}
    by_name = {key.partition("@")[0]: problem for key, problem in failures.items()}
    return {
        f"model {name}": failures.get(name) or by_name.get(name) or "required, and not among the models"
        for name in required
        if name not in loaded
    }
