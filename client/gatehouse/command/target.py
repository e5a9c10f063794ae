"""The options that say which server to talk to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])

_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:")


def _check(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    host, colon, port = value.rpartition(":")
    is_port = colon and port.isdecimal() and 0 < int(port) < 65536
    if value.startswith(_SCHEMES) or (host and "/" not in host and is_port):
        return value
    raise click.BadParameter(f"{value!r} is not HOST:PORT, as {parameter.get_default(ctx)}")


def target_option(command: F) -> F:
    """Adds `--target HOST:PORT` to a command."""
    return _option("--target", "GATEHOUSE_TARGET", "localhost:50051", "The server.")(command)


def admin_target_option(command: F) -> F:
    """Adds `--admin-target HOST:PORT` to a command."""
    about = "The server's port for operators."
    return _option("--admin-target", "GATEHOUSE_ADMIN_TARGET", "localhost:50052", about)(command)


def _option(flag: str, variable: str, default: str, about: str) -> Callable[[F], F]:
    return click.option(
        flag,
        envvar=variable,
        default=default,
        show_default=True,
        show_envvar=True,
        metavar="HOST:PORT",
        callback=_check,
        help=about,
    )
