"""A real store that fails when it is told to: before it does anything, or after, when the answer is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gatehouse_server.stores.port import SessionStore, StoreFailure


class FlakyStore:
    """Passes everything on to the store that `open_store` opens, unless it is `down`, `full` (writes fail alone) or
    to lose answers.
    """

    def __init__(self, open_store: Callable[[], SessionStore]) -> None:
        self._open_store = open_store
        self.down = False
        self.full = False
        self.loses_answers = False

    def open(self) -> Any:
        """The store, opened anew."""
        self._store = self._open_store()
        return self

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not callable(attribute) or name == "close":
            return attribute

        def call(*arguments: Any, **named: Any) -> Any:
            if self.down:
                raise StoreFailure("the store is down")
            if self.full and name in ("apply", "probe"):
                raise StoreFailure("the store is full")
            result = attribute(*arguments, **named)
            if self.loses_answers:
                raise StoreFailure("the answer was lost")
            return result

        return call
