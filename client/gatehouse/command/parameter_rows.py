"""The parameters of a model as a table: for each layer and direction its matrices, their sum, and the formula of each
count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gatehouse.models import Model, ParameterMatrix, ParameterSum

_RECURRENT = re.compile(r"(?P<owner>.*)\.(?P<matrix>.+)_l(?P<layer>\d+)(?P<reverse>_reverse)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    name: str
    dimensions: str = ""
    count: str = ""
    formula: str = ""


def parameter_rows(model: Model) -> Iterator[str]:
    """The lines of the table."""
    rows = list(_rows(model))
    letters = "  ".join(f"{symbol} = {size:,}" for symbol, size in model.dimensions.items())
    names = max(len(row.name) for row in rows)
    dimensions = max(len(row.dimensions) for row in rows)
    counts = max(len(row.count) for row in rows)
    for row in rows:
        yield (
            f"{row.name:<{names}}  {row.dimensions:>{dimensions}}  {row.count:>{counts}}  {row.formula}".rstrip()
        )
    if letters:
        yield f"where {letters}"


def _rows(model: Model) -> Iterator[_Row]:
    yield _Row(name="parameters", dimensions="dimensions", count="count", formula="formula")
    group: str | None = None
    waiting: list[_Row] = []
    for matrix in model.parameters:
        title, name, sums = _place(model, matrix)
        if title != group:
            yield from waiting
            waiting = []
            group = title
            yield _Row(name=title)
            if title.endswith("head") and name != "weight":
                yield _Row(name="  weight", formula="that of the embedding")
            waiting = [row for each in sums for row in _sum_rows(each)]
        yield _Row(
            name=f"  {name}",
            dimensions=" x ".join(str(size) for size in matrix.shape),
            count=f"{matrix.count:,}",
            formula=matrix.formula,
        )
    yield from waiting
    yield _Row(name="all", count=f"{model.parameter_count:,}")


def _sum_rows(each: ParameterSum) -> Iterator[_Row]:
    yield _Row(name="  together", count=f"{each.count:,}", formula=each.formula)
    if each.one_bias_count is not None:
        yield _Row(
            name="  with one bias (Keras)", count=f"{each.one_bias_count:,}", formula=each.one_bias_formula
        )


def _place(model: Model, matrix: ParameterMatrix) -> tuple[str, str, Sequence[ParameterSum]]:
    """The group of a matrix, its name in there, and the group's sum, if it has one."""
    found = _RECURRENT.fullmatch(matrix.name)
    if found is None:
        owner, _, name = matrix.name.rpartition(".")
        return owner.replace(".", " "), name, ()
    number, direction = int(found["layer"]), "reverse" if found["reverse"] else "forward"
    part = found["owner"].rpartition(".")[0]
    layers = [layer for layer in model.recurrent_layers if layer.part == part]
    if number >= len(layers):
        return f"{part} layer {number}".strip(), found["matrix"], ()
    layer = layers[number]
    told = f"{part} layer {number}".strip() + ("" if layer.direction == "forward" else f", {direction}")
    sums = [each for each in layer.parameter_sums if each.direction == direction]
    return told, found["matrix"], sums
