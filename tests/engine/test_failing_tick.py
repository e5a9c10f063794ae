"""A tick whose computation fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import structlog.testing
from gatehouse_server.engine.correlation import logged_under
from gatehouse_server.engine.job import NOTHING, Job
from gatehouse_server.engine.observer import SilentObserver
from gatehouse_server.engine.online import OnlineEngine
from gatehouse_server.engine.policy import OnlineBatching


class Broken:
    """A backend that computes nothing."""

    bytes_per_row = 4

    def run(self, batch: object) -> None:
        raise RuntimeError("the device is gone")


def test_failed_ticks_are_one_line_however_many_wait() -> None:
    """All jobs end with the failure of their tick. The first one is logged under the id that its clients will be told,
    and so will be those of the next tick, which has no line.
    """
    backend: Any = Broken()
    engine = OnlineEngine(
        model="keyboard@1",
        backend=backend,
        batching=OnlineBatching(),
        observer=SilentObserver(),
        clock=lambda: 1.0,
    )
    ended: list[Exception | None] = []
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            for row in range(3):
                inputs = np.array([2, 3], dtype=np.int64)
                engine.submit(
                    Job(
                        inputs,
                        row,
                        row + 3,
                        NOTHING,
                        lambda job, failure: ended.append(failure),
                        1.0,
                        None,
                        "",
                    )
                )
            engine.tick()
    assert len(ended) == 6
    failure, later = {id(each): each for each in ended}.values()
    assert isinstance(failure, RuntimeError)
    assert isinstance(later, RuntimeError)
    assert logged_under(later) == logged_under(failure)
    (line,) = logs
    assert (line["event"], line["work"], line["model"]) == ("computing fails", "ticks", "keyboard@1")
    assert line["operations"] == 3
    assert line["correlation_id"] == logged_under(failure) is not None
    assert line["exc_info"] is failure
