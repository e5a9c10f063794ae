"""The networks of a model: one, or a transducer's two, told apart by the first word of their parameters' names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, TypeVar

from gatehouse_server.models.config import ModelConfig
from gatehouse_server.models.dimensions import Dimension, Letters
from gatehouse_server.models.parameters import ParameterMatrix, parameter_table
from gatehouse_server.network.spec import NetworkSpec, parameter_shapes

Part = Literal["", "encoder", "decoder"]
"""The part that a network plays; empty where it is the only one."""

Value = TypeVar("Value")

_LETTER = re.compile(r"[A-Z][₀-₉]*")


def network_specs(config: ModelConfig) -> dict[Part, NetworkSpec]:
    """The dimensions of each network, in the order in which they are told."""
    if config.decoder is None:
        return {"": config.network_spec()}
    return {"encoder": config.network_spec(), "decoder": config.decoder.spec()}


def expected_shapes(specs: Mapping[Part, NetworkSpec]) -> dict[str, tuple[int, ...]]:
    """All parameters by their full names."""
    return {
        full_name(part, name): tuple(shape)
        for part, spec in specs.items()
        for name, shape in parameter_shapes(spec).items()
    }


def parameters_of(part: Part, parameters: Mapping[str, Value]) -> dict[str, Value]:
    """One network's, by the names that it knows them under."""
    first = full_name(part, "")
    return {name.removeprefix(first): value for name, value in parameters.items() if name.startswith(first)}


def full_name(part: Part, name: str) -> str:
    """`decoder.head.weight`; the name itself where there is one network."""
    return f"{part}.{name}" if part else name


def joint_table(specs: Mapping[Part, NetworkSpec]) -> tuple[ParameterMatrix, ...]:
    """The matrices of all networks. A decoder's letters have a mark: its V′ is another one than the encoder's V."""
    return tuple(
        replace(row, name=full_name(part, row.name), formula=marked(part, row.formula))
        for part, spec in specs.items()
        for row in parameter_table(spec)
    )


def joint_dimensions(specs: Mapping[Part, NetworkSpec]) -> tuple[Dimension, ...]:
    """What the letters of all networks stand for."""
    return tuple(
        replace(dimension, symbol=marked(part, dimension.symbol))
        for part, spec in specs.items()
        for dimension in Letters(spec).dimensions()
    )


def marked(part: Part, formula: str) -> str:
    """A formula in the letters of this part."""
    return _LETTER.sub(lambda letter: f"{letter.group()}′", formula) if part == "decoder" else formula
