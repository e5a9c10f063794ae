"""A model that fails, as a few lines of the log, on a clock of the test's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog.testing
from gatehouse_server.engine.correlation import logged_under
from gatehouse_server.engine.failure_log import QUIET_SECONDS, FailureLog


class Failing:
    """The log of a model's ticks."""

    def __init__(self, logs: Any) -> None:
        self.now_seconds = 1000.0
        self._logs = logs
        self.log = FailureLog("ticks", "keyboard@1", lambda: self.now_seconds)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was logged."""
        return list(self._logs)

    @property
    def events(self) -> list[str]:
        """Without the facts."""
        return [line["event"] for line in self._logs]

    def fail(self, kind: type[Exception] = RuntimeError) -> Exception:
        """One tick with 3 operations fails."""
        try:
            raise kind("the device is gone")
        except Exception as error:
            self.log.failed(error, operations=3)
            return error


@pytest.fixture
def failing() -> Iterator[Failing]:
    """One whose lines are kept."""
    with structlog.testing.capture_logs() as logs:
        yield Failing(logs)


def test_a_failure_that_comes_again_and_again_is_one_line_with_its_traceback(failing: Failing) -> None:
    """However many ticks fail within a minute; what their callers are told has the id of that line."""
    failures = [failing.fail() for _ in range(1000)]
    (line,) = failing.lines
    assert (line["event"], line["log_level"], line["work"]) == ("computing fails", "error", "ticks")
    assert (line["model"], line["operations"], line["exc_info"]) == ("keyboard@1", 3, failures[0])
    assert {logged_under(failure) for failure in failures} == {line["correlation_id"]}


def test_one_that_lasts_is_counted_once_a_minute(failing: Failing) -> None:
    """Each line counts the failures since the one before, and names the ids that were told."""
    known = logged_under(failing.fail())
    for _ in range(180):
        failing.now_seconds += 1
        failing.fail()
    counted = failing.lines[1:]
    assert [line["event"] for line in counted] == ["computing still fails"] * 3
    assert [(line["failures"], line["seconds"]) for line in counted] == [(60, 60)] * 3
    assert [line["correlation_ids"] for line in counted] == [[known]] * 3


def test_another_kind_of_failure_has_a_line_of_its_own(failing: Failing) -> None:
    """Another type, or the same one from another place: it may be another defect."""
    first = failing.fail()
    second = failing.fail(OSError)
    try:
        raise RuntimeError("the device is gone")
    except RuntimeError as error:
        failing.log.failed(error, operations=1)
        third = error
    failing.fail(OSError)
    assert failing.events == ["computing fails"] * 3
    assert len({logged_under(failure) for failure in (first, second, third)}) == 3


def test_it_works_again_when_no_failure_came_for_a_minute(failing: Failing) -> None:
    """A line says so, once, with how many there were; the next failure is told like the first one."""
    for _ in range(5):
        failing.fail()
        failing.now_seconds += 2
    failing.now_seconds += QUIET_SECONDS
    failing.log.worked()
    failing.log.worked()
    assert failing.events == ["computing fails", "computing works again"]
    assert (failing.lines[1]["failures"], failing.lines[1]["seconds"]) == (5, 8)
    failing.fail()
    assert failing.events[2:] == ["computing fails"]
    assert failing.lines[2]["correlation_id"] != failing.lines[0]["correlation_id"]


def test_one_that_fails_now_and_then_does_not_fill_the_log(failing: Failing) -> None:
    """Work that fails and work that succeeds, in turn, for ten minutes: a line a minute."""
    for _ in range(600):
        failing.fail()
        failing.log.worked()
        failing.now_seconds += 1
    assert failing.events == ["computing fails", *["computing still fails"] * 9]


def test_what_works_says_nothing(failing: Failing) -> None:
    """And looks at no clock."""
    del failing.now_seconds
    failing.log.worked()
    assert failing.lines == []
