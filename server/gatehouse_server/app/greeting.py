"""What the server says when it is up: what to try next to a person, a line of the log to a machine."""

from __future__ import annotations

import ipaddress
import os
import shutil
import sys
from collections.abc import Mapping

import click
import structlog

from gatehouse_server.settings import Settings
from gatehouse_server.transport.server import address_of

_log = structlog.get_logger(__name__)


def greet(
    settings: Settings,
    *,
    grpc_port: int,
    admin_port: int,
    http_port: int,
    start_seconds: Mapping[str, float],
) -> None:
    """Tells where the server listens, who can reach it, and how long each stage of the start took."""
    reach, admin_reach = _reach(settings.host), _reach(settings.admin_host)
    _log.info(
        "serving",
        grpc=address_of(settings.host, grpc_port),
        admin=address_of(settings.admin_host, admin_port),
        http=address_of(settings.http_host, http_port),
        reachable_from=reach,
        admin_reachable_from=admin_reach,
        started_in_seconds=round(sum(start_seconds.values()), 3),
        start_seconds={stage: round(seconds, 3) for stage, seconds in start_seconds.items()},
    )
    if sys.stdout.isatty():
        click.echo(
            _text(
                settings,
                grpc_port=grpc_port,
                admin_port=admin_port,
                http_port=http_port,
                reach=reach,
                admin_reach=admin_reach,
            )
        )


def _text(
    settings: Settings, *, grpc_port: int, admin_port: int, http_port: int, reach: str, admin_reach: str
) -> str:
    target = "" if grpc_port == 50_051 else f" --target localhost:{grpc_port}"
    admin_target = "" if admin_port == 50_052 else f" --admin-target localhost:{admin_port}"
    command = _command()
    return (
        f"\nGatehouse listens on {address_of(settings.host, grpc_port)} (gRPC) and "
        f"{address_of(settings.http_host, http_port)} (HTTP), reachable from {reach};\n"
        f"for operators on {address_of(settings.admin_host, admin_port)} (gRPC), reachable from {admin_reach}.\n"
        "Try in another terminal:\n\n"
        f'  {command} suggest "how are you do"{target}\n'
        f"  {command} classify examples/documents.jsonl{target}\n"
        f'  {command} transduce "the third of march, 2021"{target}\n'
        f"  {command} sessions list{admin_target}\n"
        f"  curl http://localhost:{http_port}/metrics\n\n"
        "Ctrl-C stops it.\n"
    )


def _command() -> str:
    """How to type `gatehouse` here: by its path when it is not on the search path."""
    return "gatehouse" if shutil.which("gatehouse") else os.path.relpath(sys.argv[0])


def _reach(host: str) -> str:
    if host == "localhost":
        return "this machine only (loopback)"
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    return "this machine only (loopback)" if loopback else "other machines, without a password"
