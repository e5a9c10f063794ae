"""`gatehouse sessions`: what the server keeps, for its operator."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from gatehouse.command.failure import failures_told
from gatehouse.command.spans import long_span
from gatehouse.command.target import admin_target_option

if TYPE_CHECKING:
    from gatehouse.results import SessionLine

_FLAG = "--admin-target"


@click.group()
def sessions() -> None:
    """List, show or delete the sessions of all users, through the server's port for operators."""


@sessions.command("list")
@click.option("--model", metavar="NAME", help="Only sessions of this model, NAME or NAME@VERSION.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
@admin_target_option
def list_sessions(model: str | None, as_json: bool, admin_target: str) -> None:
    """List all sessions, as they arrive: those in memory, then those in the state store alone."""
    from gatehouse.operator import Operator

    count = 0
    with failures_told(admin_target, flag=_FLAG), Operator(admin_target) as operator:
        for line in operator.list_sessions(model=model):
            print(_as_json(line) if as_json else _row(line))
            count += 1
    sys.stdout.flush()
    click.echo("1 session" if count == 1 else f"{count:,} sessions", err=True)


@sessions.command("show")
@click.argument("session_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@admin_target_option
def show_session(session_id: str, as_json: bool, admin_target: str) -> None:
    """Show the session ID. It is neither woken nor kept alive by that."""
    from gatehouse.operator import Operator

    with failures_told(admin_target, flag=_FLAG), Operator(admin_target) as operator:
        line = operator.inspect_session(session_id)
    if as_json:
        print(_as_json(line))
        return
    for key, value in _facts(line):
        print(f"{key:<12} {value}")


@sessions.command("delete")
@click.argument("session_id", metavar="ID")
@admin_target_option
def delete_session(session_id: str, admin_target: str) -> None:
    """End the session ID and erase its tape, in the state store too. Its user is told that an operator did."""
    from gatehouse.operator import Operator

    with failures_told(admin_target, flag=_FLAG), Operator(admin_target) as operator:
        operator.evict_session(session_id)
    print(f"session {session_id} has ended, and its tape is erased")


def _row(line: SessionLine) -> str:
    state = line.state
    return (
        f"{line.session:<32} {line.model:<16} {line.tier:<5} position {state.position:<9,} "
        f"revision {state.revision:<9,} durable {state.durable_revision:<9,} "
        f"expires in {_remaining(line):<10} {line.size_bytes:>9,} bytes"
    )


def _facts(line: SessionLine) -> list[tuple[str, str]]:
    state = line.state
    where = {
        "live": "live: in the state table, ready for its next step",
        "host": "host: packed in the server's memory",
        "store": "store: in the state store alone",
    }
    return [
        ("session", line.session),
        ("model", line.model),
        ("tier", where.get(line.tier, line.tier)),
        ("position", f"{state.position:,}"),
        ("revision", f"{state.revision:,}"),
        ("durable", f"{state.durable_revision:,}"),
        ("incarnation", str(state.incarnation)),
        ("expires in", _remaining(line)),
        ("size", f"{line.size_bytes:,} bytes"),
    ]


def _remaining(line: SessionLine) -> str:
    """How long the session lives unless it is used, in two units: `1 h 05 min`."""
    expires = line.state.expire_time
    if expires is None:
        return "?"
    return long_span((expires - datetime.now(UTC)).total_seconds())


def _as_json(line: SessionLine) -> str:
    state = line.state
    return json.dumps(
        {
            "session": line.session,
            "model": line.model,
            "tier": line.tier,
            "position": state.position,
            "revision": state.revision,
            "durable_revision": state.durable_revision,
            "incarnation": state.incarnation,
            "expire_time": None if state.expire_time is None else state.expire_time.isoformat(),
            "size_bytes": line.size_bytes,
        },
        ensure_ascii=False,
    )
