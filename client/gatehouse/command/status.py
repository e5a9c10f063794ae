"""`gatehouse status`: how a server is, on one screen."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from gatehouse.command.failure import SOME_FAILED, failures_told
from gatehouse.command.spans import long_span, memory, short_span
from gatehouse.command.target import admin_target_option

if TYPE_CHECKING:
    from gatehouse.server_status import ModelStatus, ServerStatus


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@admin_target_option
def status(as_json: bool, admin_target: str) -> None:
    """Show how the server is: load, latencies, sessions, models, warnings. Ends with 1 when it is not ready."""
    from gatehouse.operator import Operator

    with failures_told(admin_target, flag="--admin-target"), Operator(admin_target) as operator:
        told = operator.status()
    if as_json:
        print(json.dumps(dataclasses.asdict(told), ensure_ascii=False, default=datetime.isoformat))
    else:
        for line in screen(told, now=datetime.now(UTC)):
            print(line)
    if told.problems:
        sys.exit(SOME_FAILED)


def screen(told: ServerStatus, *, now: datetime) -> Iterator[str]:
    """The lines of the screen."""
    since = (
        "" if told.serving_since is None else f" for {long_span((now - told.serving_since).total_seconds())}"
    )
    yield f"gatehouse {told.version} on {told.device}: {told.phase}{since}"
    for kind, entries in (("NOT READY", told.problems), ("WARNING", told.warnings)):
        for name, text in entries.items():
            yield f"{kind:<10} {name}: {text}"
    yield ""
    yield from _load(told)
    yield ""
    yield from _sessions(told)
    yield ""
    yield from _models(told.models)


def _load(told: ServerStatus) -> Iterator[str]:
    online = f"{told.steps_per_second:,.0f} steps/s"
    if told.batch_sessions:
        online += f", {told.batch_sessions:.1f} sessions a tick"
    offline = f"{told.documents_per_second:,.1f} documents/s"
    if told.batch_documents:
        offline += f", {told.batch_documents:.1f} a batch"
    yield f"last {told.window_seconds:.0f} s".ljust(11) + f"{online}; {offline}"
    yield (
        f"queue      {_counted(told.queued, 'operation')} and {_counted(told.queued_documents, 'document')} wait, "
        f"of {told.queue_capacity:,} each; "
        f"{_counted(told.open_calls, 'open call')}"
    )
    if told.operations:
        yield f"{'':<11}{'answers/s':>11} {'failed/s':>10} {'p50':>10} {'p99':>10}"
    for each in told.operations:
        yield (
            f"{each.operation:<11}{each.per_second:>11,.1f} {each.failed_per_second:>10,.1f} "
            f"{short_span(each.p50_seconds):>10} {short_span(each.p99_seconds):>10}"
        )


def _sessions(told: ServerStatus) -> Iterator[str]:
    store = told.store
    yield (
        f"sessions   {told.live_sessions:,} live of {told.live_sessions_capacity:,}, "
        f"{told.packed_sessions:,} packed; {memory(told.session_bytes)}; "
        f"{told.sessions_capacity:,} may be known"
    )
    if store.kind == "memory":
        yield "store      none: sessions end with the server"
        return
    behind = "nothing waits to be stored"
    if store.unsaved_sessions:
        behind = (
            f"{_counted(store.unsaved_sessions, 'change')} not stored yet, "
            f"the oldest for {short_span(store.lag_seconds)}"
        )
    sessions = _counted(told.stored_sessions, "session")
    yield f"store      {store.kind}, {store.durability}, {sessions}; {behind}"


def _models(models: tuple[ModelStatus, ...]) -> Iterator[str]:
    if not models:
        yield "models     none"
        return
    width = max(10, *(len(each.model) for each in models))
    yield f"{'model':<{width}} {'status':<8} {'sessions':>9} {'memory':>10}  content"
    for each in models:
        if each.status == "failed":
            yield f"{each.model:<{width}} failed   {each.problem}"
        else:
            yield (
                f"{each.model:<{width}} {each.status:<8} {each.sessions:>9,} {memory(each.memory_bytes):>10}  "
                f"{each.fingerprint[:12]}"
            )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
