"""Structured logs: JSON for machines, coloured lines on a terminal. Never a line per step, never what users
wrote.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Literal, TextIO, cast

import structlog

from gatehouse_server.telemetry.tracebacks import Tracebacks

LogFormat = Literal["auto", "json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]


class _Lasting:
    """A stream that may break: a disk is full, whoever read the pipe has gone. Lines are lost then, and nothing else.

    Raising would end the engine's thread, or a drain before sessions are stored.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def isatty(self) -> bool:
        """Whether a person reads it."""
        with suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def write(self, text: str) -> None:
        """Writes if it can."""
        with suppress(OSError, ValueError):  # ValueError: it was closed
            self._stream.write(text)

    def flush(self) -> None:
        """Flushes if it can."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure_logs(
    *,
    log_format: LogFormat = "auto",
    level: LogLevel = "info",
    user_text: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Sets up logging of this process to `stream` (standard error). `auto` is text on a terminal, else JSON.

    Lines of libraries that use Python's own logging come out in the same form, from warnings upward. With `user_text`
    tracebacks have the messages of all exceptions, which may quote what users wrote, and a first line says so.
    """
    output = _Lasting(sys.stderr if stream is None else stream)
    as_text = log_format == "text" or (log_format == "auto" and output.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        # Plain tracebacks: the structured and the coloured ones carry local variables, and so what users wrote.
        structlog.processors.ExceptionRenderer(Tracebacks(user_text=user_text)),
    ]
    last: list[structlog.typing.Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=output.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
        if as_text
        else [structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, output)),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in [
        each for each in root.handlers if isinstance(each.formatter, structlog.stdlib.ProcessorFormatter)
    ]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    if user_text:
        structlog.get_logger(__name__).warning(
            "THE LOG MAY QUOTE WHAT USERS WRITE", setting="--log-user-text", advice="For debugging only"
        )
