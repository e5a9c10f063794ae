"""`gatehouse models`: what the server serves."""

from __future__ import annotations

import dataclasses
import json
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from gatehouse.command.failure import failures_told
from gatehouse.command.groups import OpenGroup
from gatehouse.command.model_changing import load_model, reload_models, unload_model
from gatehouse.command.target import target_option

if TYPE_CHECKING:
    from gatehouse.models import Model


class ModelCommands(OpenGroup):
    """Those that ask a server, and those of packages, through the entry-point group `gatehouse.commands.models`."""

    entry_point_group = "gatehouse.commands.models"
    summaries = MappingProxyType(
        {
            "list": "List all models, those that failed to load included.",
            "show": "Show all about a model: layers, parameters, costs.",
            "load": "Have the server serve a model's folder, as an operator.",
            "unload": "Have the server serve a version to nobody new.",
            "reload": "Have the server look at its folders again.",
            "convert": "Make a model folder from somebody else's model.",
            "verify": "Check and test a model folder, and print its fingerprint.",
        }
    )


@click.group(cls=ModelCommands)
def models() -> None:
    """List or show the server's models, load or unload some; convert or verify a model's folder."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@target_option
def list_models(as_json: bool, target: str) -> None:
    """List all models, those that could not be loaded included."""
    from gatehouse.client import Client
    from gatehouse.command.model_page import line

    with failures_told(target), Client(target) as client:
        found = client.list_models()
    if as_json:
        print(json.dumps([_as_dict(model) for model in found], ensure_ascii=False))
        return
    for model in found:
        print(line(model))


@models.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--card", is_flag=True, help="Print the model's card alone (Markdown).")
@target_option
def show_model(name: str, as_json: bool, card: bool, target: str) -> None:
    """Show the model NAME (its newest version) or NAME@VERSION."""
    from gatehouse.client import Client
    from gatehouse.command.model_page import page

    with failures_told(target), Client(target) as client:
        model = client.get_model(name)
    if as_json:
        print(json.dumps(_as_dict(model), ensure_ascii=False))
    elif card:
        print(model.card)
    else:
        for each in page(model):
            print(each)


models.add_command(load_model)
models.add_command(unload_model)
models.add_command(reload_models)


def _as_dict(model: Model) -> dict[str, object]:
    return dataclasses.asdict(model)
