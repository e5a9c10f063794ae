"""The option that says which server to talk to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])

_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:")


def _check(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    host, colon, port = value.rpartition(":")
    if value.startswith(_SCHEMES) or (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        return value
    raise click.BadParameter(f"{value!r} is not HOST:PORT, as localhost:50051")


def target_option(command: F) -> F:
    """Adds `--target HOST:PORT` to a command."""
    return click.option(
        "--target",
        envvar="GATEHOUSE_TARGET",
        default="localhost:50051",
        show_default=True,
        show_envvar=True,
        metavar="HOST:PORT",
        callback=_check,
        help="The server.",
    )(command)
