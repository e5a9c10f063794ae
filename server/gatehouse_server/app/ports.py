"""The ports of the server, and what is said of one that is not to be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gatehouse_server.app.failure import CannotStartError
from gatehouse_server.transport.server import PortUnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports that were taken."""

    grpc: int
    admin: int
    http: int


@contextmanager
def port_of(flag: str) -> Iterator[None]:
    """Around the opening of the port that `flag` chooses. Raises CannotStartError when it is not to be had."""
    try:
        yield
    except PortUnavailableError as error:
        raise CannotStartError(
            f"{error}. Is a server running there, or is it no address of this machine? "
            f"Choose another with {flag} or {flag.replace('port', 'host')}"
        ) from error
