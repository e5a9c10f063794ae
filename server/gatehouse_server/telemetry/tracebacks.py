"""Tracebacks for the log. Messages of exceptions that may quote what users wrote are kept back unless asked for."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_SAY_NOTHING_OF_VALUES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    IndexError,
    MemoryError,
    OSError,
    RuntimeError,  # torch's own among them: shapes, devices, memory
    TypeError,
)
"""What these say is of shapes, types, files and memory. Others, as KeyError and ValueError, quote the value."""

_KEPT_BACK = "(message kept back: it may quote what a user wrote; --log-user-text shows it)"
_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracebacks:
    """Makes text of exceptions: where, of what type, and with `user_text` what they say. Never local variables."""

    user_text: bool = False

    def __call__(self, exc_info: _ExcInfo) -> str:
        """The traceback, with those of the exceptions that led to it."""
        return "".join(self._lines(exc_info[1], set())).rstrip("\n")

    def _lines(self, error: BaseException, seen: set[int]) -> Iterator[str]:
        seen.add(id(error))
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is not None and id(before) not in seen:
            yield from self._lines(before, seen)
            yield _CAUSE if error.__cause__ is not None else _CONTEXT
        if error.__traceback__ is not None:
            yield "Traceback (most recent call last):\n"
            yield from traceback.format_tb(error.__traceback__)
        yield f"{type(error).__qualname__}: {self._message(error)}\n"
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                yield "\nOne of them:\n\n"
                yield from self._lines(part, seen)

    def _message(self, error: BaseException) -> str:
        shown = self.user_text or isinstance(error, _SAY_NOTHING_OF_VALUES)
        return str(error) if shown else _KEPT_BACK
