"""The parameter table: each matrix of a model with its shape, its count and where the count comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from gatehouse_server.models.config import ModelConfig

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterMatrix:
    """One matrix: torch's name, its shape, its count, and the count as a formula of the model's sizes.

    The letters are those of all pages: V vocabulary, E embedding, N features, H hidden, P projection, and O
    for the size of the head.
    """

    name: str
    shape: tuple[int, ...]
    count: int
    formula: str


def parameter_table(
    config: ModelConfig, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[ParameterMatrix, ...]:
    """One row for each matrix of `shapes`, in that order. A tied head is no matrix of its own."""
    return tuple(
        ParameterMatrix(name=name, shape=shape, count=prod(shape), formula=_formula(config, name))
        for name, shape in shapes.items()
    )


def _formula(config: ModelConfig, name: str) -> str:
    recurrent = config.recurrent
    step = "P" if recurrent.projection_size else "H"
    # What a layer hands on: both directions side by side, or merged into one.
    layer_output = step if recurrent.output_size == recurrent.step_size else f"2·{step}"
    gates = _GATES[recurrent.cell]
    rows = "H" if gates == 1 else f"{gates}·H"
    owner, _, matrix = name.partition(".")
    if owner == "embedding":
        return "V·E"
    if owner == "head":
        size = "V" if config.task == "language_model" else "O"
        if matrix == "bias":
            return size
        pooled = f"{len(config.pooling)}·" if len(config.pooling) > 1 else ""
        return f"{size}·{_multiplied(pooled + layer_output)}"
    if matrix.startswith("bias"):
        return rows
    if matrix.startswith("weight_hr"):
        return "P·H"
    if matrix.startswith("weight_hh"):
        return f"{rows}·{step}"
    first = matrix.removesuffix("_reverse").endswith("_l0")
    source = "E" if config.input.kind == "tokens" else "N"
    return f"{rows}·{source if first else _multiplied(layer_output)}"


def _multiplied(factor: str) -> str:
    return f"({factor})" if "·" in factor else factor
