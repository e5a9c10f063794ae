"""`gatehouse models`: what the server serves."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from gatehouse.command.failure import failures_told
from gatehouse.command.target import target_option

if TYPE_CHECKING:
    from gatehouse.models import Model


@click.group()
def models() -> None:
    """List the server's models, or show one."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@target_option
def list_models(as_json: bool, target: str) -> None:
    """List all models, those that could not be loaded included."""
    from gatehouse.client import Client

    with failures_told(target), Client(target) as client:
        found = client.list_models()
    if as_json:
        print(json.dumps([_as_dict(model) for model in found], ensure_ascii=False))
        return
    for model in found:
        print(_line(model))


@models.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--card", is_flag=True, help="Print the model's card alone (Markdown).")
@target_option
def show_model(name: str, as_json: bool, card: bool, target: str) -> None:
    """Show the model NAME (its newest version) or NAME@VERSION."""
    from gatehouse.client import Client

    with failures_told(target), Client(target) as client:
        model = client.get_model(name)
    if as_json:
        print(json.dumps(_as_dict(model), ensure_ascii=False))
    elif card:
        print(model.card)
    else:
        for key, value in _facts(model):
            print(f"{key:<12} {value}")


def _line(model: Model) -> str:
    if not model.ready:
        return f"{model.full_name:<20} failed: {model.failure}"
    kind = model.task.replace("_", " ") + (", online" if model.online else "")
    size = f"{model.parameter_count:,} parameters"
    return f"{model.full_name:<20} {kind:<24} {_cell(model):<38} {size:>22}  {model.description}".rstrip()


def _facts(model: Model) -> list[tuple[str, str]]:
    facts = [("model", model.full_name), ("status", "ready" if model.ready else f"failed: {model.failure}")]
    if not model.ready:
        return facts
    facts += [
        ("what it is", model.description),
        ("task", model.task + (", runs sessions" if model.online else ", whole documents only")),
        ("cell", _cell(model)),
        ("input", _input(model)),
    ]
    if model.pooling:
        facts.append(("pooling", ", ".join(model.pooling)))
    if model.labels:
        facts.append(("labels", ", ".join(model.labels)))
    facts += [
        ("fingerprint", model.fingerprint),
        ("arithmetic", _arithmetic(model)),
        ("memory", f"{_megabytes(model.memory_bytes)}, loaded in {model.load_seconds:.2f} s"),
    ]
    if model.online:
        facts.append(("state", f"{model.state_bytes:,} bytes a session"))
    facts.append(("parameters", f"{model.parameter_count:,}"))
    for matrix in model.parameters:
        shape = " x ".join(str(size) for size in matrix.shape)
        formula = f" = {matrix.formula}" if matrix.formula else ""
        facts.append(("", f"{matrix.name:<32} {shape:>14} {matrix.count:>12,}{formula}"))
    return facts


def _cell(model: Model) -> str:
    size = f"{model.layers} x {model.hidden_size}"
    projection = f", projected to {model.projection_size}" if model.projection_size else ""
    directions = f", both directions ({model.merge})" if model.bidirectional else ""
    return f"{model.cell} {size}{projection}{directions}"


def _arithmetic(model: Model) -> str:
    return model.arithmetic + (", answers reproducible to the bit" if model.reproducible else "")


def _input(model: Model) -> str:
    if model.tokens is not None:
        words = f"tokens, {model.tokens.vocabulary_size:,} in the vocabulary"
        return words + (", from text" if model.tokens.accepts_text else "")
    if model.features is not None:
        names = f": {', '.join(model.features.names)}" if model.features.names else ""
        return f"{model.features.size} features{names}"
    return ""


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def _as_dict(model: Model) -> dict[str, object]:
    return dataclasses.asdict(model)
