"""An engine that stands still, or fails, is told of in the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from gatehouse_server.app.engine_watch import until_it_fails
from structlog.testing import capture_logs


class TroubledEngine:
    """Its turn has been running for so many seconds at each look; after the last look it has failed."""

    def __init__(self, *seconds: float) -> None:
        self._seconds: Iterator[float] = iter(seconds)
        self.failure: BaseException | None = None

    def stuck_for_seconds(self) -> float:
        """Of this look."""
        seconds = next(self._seconds, None)
        if seconds is None:
            self.failure = MemoryError("in the middle of a tick")
        return seconds or 0.0

    def stack(self) -> str:
        """Where it is."""
        return "in a product"


async def test_each_turn_that_does_not_end_is_told_once_and_a_failure_ends_the_watch() -> None:
    """However often it is looked at; a turn that ended late is no reason to be silent of the next one."""
    engine: Any = TroubledEngine(1.0, 61.0, 62.0, 0.0, 75.0)
    with capture_logs() as logs:
        await until_it_fails(engine, stuck_turn_seconds=60.0, look_seconds=0.0)
    told = [cast(dict[str, Any], line) for line in logs]
    assert [line["event"] for line in told] == ["the engine is stuck"] * 2 + ["the engine failed"]
    assert [(line["seconds"], line["stack"]) for line in told[:2]] == [
        (61.0, "in a product"),
        (75.0, "in a product"),
    ]
    assert {line["log_level"] for line in told} == {"critical"}
