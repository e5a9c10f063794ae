"""Gatehouse's client: `from gatehouse import Client`, or `from gatehouse.aio import Client` for asyncio."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatehouse.client import Client
    from gatehouse.documents import Document
    from gatehouse.errors import GatehouseError
    from gatehouse.session import Session
    from gatehouse.stream import Stream

__all__ = ["Client", "Document", "GatehouseError", "Session", "Stream"]

_HOMES = {
    "Client": "gatehouse.client",
    "Document": "gatehouse.documents",
    "GatehouseError": "gatehouse.errors",
    "Session": "gatehouse.session",
    "Stream": "gatehouse.stream",
}


def __getattr__(name: str) -> object:
    # gRPC takes a good part of a second to import; whoever only asks for the command line's help must not
    # wait for it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    return value
