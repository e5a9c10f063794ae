"""`gatehouse models load`, `unload` and `reload`: which models a server serves, through its port for operators."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gatehouse.command.failure import SOME_FAILED, failures_told
from gatehouse.command.target import admin_target_option

if TYPE_CHECKING:
    from gatehouse.model_change import ModelChange

_FLAG = "--admin-target"
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("load")
@click.argument("folder", metavar="FOLDER")
@_json_option
@admin_target_option
def load_model(folder: str, as_json: bool, admin_target: str) -> None:
    """Have the server serve the model in FOLDER, <name>/<version> on its machine, to whoever begins from now on."""
    from gatehouse.operator import Operator

    with failures_told(admin_target, flag=_FLAG), Operator(admin_target) as operator:
        # Relative to here, as everywhere on a command line; the server was started elsewhere.
        change = operator.load_model(os.path.abspath(folder))
    print(json.dumps(dataclasses.asdict(change)) if as_json else sentence(change))


@click.command("unload")
@click.argument("model", metavar="NAME@VERSION")
@click.option("--force", is_flag=True, help="Also end its sessions in the server's memory.")
@_json_option
@admin_target_option
def unload_model(model: str, force: bool, as_json: bool, admin_target: str) -> None:
    """Have the server serve NAME@VERSION to nobody new, and let go of it when its last session ends."""
    from gatehouse.operator import Operator

    with failures_told(admin_target, flag=_FLAG), Operator(admin_target) as operator:
        unloading = operator.unload_model(model, force=force)
    if as_json:
        print(json.dumps(dataclasses.asdict(unloading)))
        return
    print(sentence(unloading.change))
    if force:
        print(f"{_sessions(unloading.evicted_sessions)} ended")


@click.command("reload")
@_json_option
@admin_target_option
def reload_models(as_json: bool, admin_target: str) -> None:
    """Have the server look at its folders again: load, replace, unload. Ends with 1 when one has a defect."""
    from gatehouse.operator import Operator

    with failures_told(admin_target, flag=_FLAG), Operator(admin_target) as operator:
        changes: Sequence[ModelChange] = operator.reload_models()
    if as_json:
        print(json.dumps([dataclasses.asdict(change) for change in changes]))
    else:
        for change in changes:
            print(sentence(change))
    if any(change.problem for change in changes):
        sys.stdout.flush()
        sys.exit(SOME_FAILED)


def sentence(change: ModelChange) -> str:
    """A line on what became of a model."""
    told = f"{change.model:<20} {change.change}"
    if change.problem:
        return f"{told}: {change.problem}"
    if change.change in ("loaded", "replaced"):
        told += f" in {change.load_seconds:.2f} s, fingerprint {change.fingerprint[:12]}"
    if change.leaving_sessions:
        go = "goes" if change.leaving_sessions == 1 else "go"
        told += f"; {_sessions(change.leaving_sessions)} {go} on with what it was"
    return told


def _sessions(count: int) -> str:
    return "1 session" if count == 1 else f"{count:,} sessions"
