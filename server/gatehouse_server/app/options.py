"""The flags of `gatehouse serve`, made from the declaration of the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from gatehouse_server.settings import Settings, flag_of, variable_of

_PLURALS = ("models", "require_models")
_METAVARS = {
    "host": "ADDRESS",
    "port": "PORT",
    "http_host": "ADDRESS",
    "http_port": "PORT",
    "admin_host": "ADDRESS",
    "admin_port": "PORT",
    "models": "DIR",
    "state_store": "STORE",
    "export_key": "KEY",
}


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds a flag for each setting, in the order of their declaration."""
    for option in reversed(list(_options())):
        command = option(command)
    return command


def given_settings(values: dict[str, Any]) -> dict[str, object]:
    """Those that were given on the command line."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def described_default(field: FieldInfo) -> str:
    """A setting's default, as people write it."""
    default = field.default
    if isinstance(default, bool):
        return "yes" if default else "no"
    if default in ((), ""):
        return "none"
    return f"{default:g}" if isinstance(default, float) else str(default)


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The values that a setting can have, when it is one of a few words."""
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def _options() -> Iterator[Callable[[Callable[..., None]], Callable[..., None]]]:
    for name, field in Settings.model_fields.items():
        about = f"{field.description}  [{variable_of(name)}; default: {described_default(field)}]"
        if isinstance(field.default, bool):
            flag = flag_of(name)
            yield click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=about)
        else:
            # Values stay text: pydantic reads them as it reads the environment's, with the same messages.
            yield click.option(
                flag_of(name),
                name,
                multiple=name in _PLURALS,
                metavar=_metavar(name, field),
                help=about,
            )


def _metavar(name: str, field: FieldInfo) -> str:
    words = choices(field)
    if words:
        return "|".join(words)
    fallback = {int: "N", float: "SECONDS"}.get(type(field.default), "NAME")
    return _METAVARS.get(name, fallback)
