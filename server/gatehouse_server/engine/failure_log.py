"""Failures that come again and again, as the few lines of the log that an operator acts on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import structlog

from gatehouse_server.engine.correlation import log_under, new_correlation_id

_log = structlog.get_logger(__name__)

QUIET_SECONDS = 60.0
"""The least time between two lines that count failures, and how long none may come before it is said to be over."""

_Kind = tuple[type[BaseException], str, int]
"""What makes failures the same: their type, and the file and line that raised them. A program has few of them."""


class FailureLog:
    """What is logged of one model's ticks, or of its documents, when computing them fails.

    The first failure of a kind is a line with its traceback. Those after it are told under the same id, and counted in
    at most one line each QUIET_SECONDS. A line says when computing has worked for that long. On one thread.
    """

    def __init__(self, work: Literal["ticks", "documents"], model: str, clock: Callable[[], float]) -> None:
        self._work = work
        self._model = model
        self._clock = clock
        self._ids: dict[_Kind, str] = {}
        self._began_seconds = self._told_seconds = self._failed_seconds = 0.0
        self._untold = self._failures = 0

    def failed(self, failure: Exception, *, operations: int) -> None:
        """Computing for so many operations failed. What they are answered has an id that the log has, too."""
        now_seconds = self._clock()
        if not self._ids:
            self._began_seconds = self._told_seconds = now_seconds
        self._failed_seconds = now_seconds
        self._failures += 1
        kind = _kind_of(failure)
        known = self._ids.get(kind)
        if known is None:
            self._ids[kind] = correlation_id = new_correlation_id(failure)
            _log.error(
                "computing fails",
                work=self._work,
                model=self._model,
                operations=operations,
                correlation_id=correlation_id,
                exc_info=failure,
            )
            return
        log_under(failure, known)
        self._untold += 1
        if now_seconds - self._told_seconds >= QUIET_SECONDS:
            _log.error(
                "computing still fails",
                work=self._work,
                model=self._model,
                failures=self._untold,
                seconds=round(now_seconds - self._told_seconds),
                correlation_ids=list(self._ids.values()),
            )
            self._told_seconds = now_seconds
            self._untold = 0

    def worked(self) -> None:
        """Something was computed. One success between failures says little, so it is told when they stay away."""
        if not self._ids:
            return
        now_seconds = self._clock()
        if now_seconds - self._failed_seconds < QUIET_SECONDS:
            return
        _log.info(
            "computing works again",
            work=self._work,
            model=self._model,
            failures=self._failures,
            seconds=round(self._failed_seconds - self._began_seconds),
        )
        self._ids.clear()
        self._untold = self._failures = 0


def _kind_of(failure: Exception) -> _Kind:
    place = failure.__traceback__
    if place is None:
        return type(failure), "", 0
    while place.tb_next is not None:
        place = place.tb_next
    return type(failure), place.tb_frame.f_code.co_filename, place.tb_lineno
