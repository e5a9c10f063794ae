"""Whose calls they are: clients share the engine fairly, so it has to tell them apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

CLIENT_HEADER = "gatehouse-client"
"""Names a client to whom a proxy gives no connection of its own. Any text; nobody has to prove it."""


class CalledBy(Protocol):
    """What is needed of gRPC's context."""

    def peer(self) -> str: ...
    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def client_of(call: CalledBy) -> str:
    """The header's text, or else the connection's address."""
    for key, value in call.invocation_metadata() or ():
        if key == CLIENT_HEADER and isinstance(value, str):
            return value
    return call.peer()
