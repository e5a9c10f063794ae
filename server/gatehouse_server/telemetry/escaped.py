"""Exceptions that nobody caught, as lines of the log like any other; Python prints them with all that they say."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Mapping
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


def log_escaped(loop: asyncio.AbstractEventLoop, *, watched_threads: Collection[str] = ()) -> None:
    """From now on logs what threads and the event loop's tasks die of. Of `watched_threads` somebody else tells."""

    def of_thread(what: threading.ExceptHookArgs) -> None:
        name = what.thread.name if what.thread is not None else "unknown"
        if name not in watched_threads and what.exc_type is not SystemExit:
            _log.error("a thread failed", thread=name, exc_info=what.exc_value)

    def of_loop(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        # Little of what asyncio would tell: it describes callbacks with their arguments, tasks with their exceptions.
        problem = context["message"]
        if "callback" in problem:
            problem = "a callback failed"
        _log.error("the event loop reports", problem=problem, exc_info=context.get("exception"))

    threading.excepthook = of_thread
    loop.set_exception_handler(of_loop)
