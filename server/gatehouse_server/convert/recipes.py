"""Making one parameter out of the arrays of a source, as its recipe says."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gatehouse_server.convert.gates import canonical
from gatehouse_server.convert.mapping_schema import Recipe
from gatehouse_server.convert.port import ConversionError
from gatehouse_server.convert.tensors import as_float32, listed, shape_of

_MEND = "correct its recipe in the mapping file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A parameter that the model has. `cell`: of its layer, "" outside the recurrent layers; `gates`: our order.

    `joint_columns`: of a matrix that holds the layer's input and its recurrent state beside each other.
    """

    name: str
    shape: tuple[int, ...]
    cell: str = ""
    gates: str = ""
    joint_columns: int | None = None


def follow(recipe: Recipe, wanted: Wanted, arrays: Mapping[str, Tensor]) -> Tensor:
    """The parameter, float32. Raises ConversionError where the recipe does not lead to it."""
    if recipe.value is not None:
        return torch.full(wanted.shape, recipe.value)
    taken = []
    for source in recipe.sources:
        if source not in arrays:
            raise ConversionError(
                f"{wanted.name}: the source has no {source!r}",
                f"it has {listed(sorted(arrays)) or 'nothing'}",
            )
        taken.append(_by_columns(recipe, wanted, as_float32(source, arrays[source])))
    try:
        joined = torch.cat(taken) if len(taken) > 1 else taken[0]
    except RuntimeError as error:
        told = " and ".join(map(shape_of, taken))
        raise ConversionError(f"{wanted.name}: {told} cannot be joined by rows", _MEND) from error
    if recipe.rows is not None:
        joined = _slice(joined, 0, recipe.rows, wanted.name)
    values = _by_gates(recipe, wanted, _squeezed(joined, wanted))
    if tuple(values.shape) != wanted.shape:
        expected = "(" + ", ".join(map(str, wanted.shape)) + ")"
        raise ConversionError(
            f"{wanted.name}: expected {expected}, the recipe gives {shape_of(values)}", _MEND
        )
    return values.contiguous()


def _by_columns(recipe: Recipe, wanted: Wanted, array: Tensor) -> Tensor:
    if recipe.transpose:
        if array.dim() != 2:
            raise ConversionError(f"{wanted.name}: transpose needs two axes, got {shape_of(array)}", _MEND)
        array = array.t()
    if recipe.part is not None:
        array = _part(recipe, wanted, array)
    if recipe.columns is not None:
        array = _slice(array, 1, recipe.columns, wanted.name)
    return array


def _part(recipe: Recipe, wanted: Wanted, array: Tensor) -> Tensor:
    if wanted.joint_columns is None:
        raise ConversionError(f"{wanted.name}: part is for weight_ih and weight_hh only", _MEND)
    if array.dim() != 2 or array.shape[1] != wanted.joint_columns:
        raise ConversionError(
            f"{wanted.name}: part: expected {wanted.joint_columns} columns, those of input and state, "
            f"got {shape_of(array)}",
            _MEND,
        )
    columns = wanted.shape[1]
    first = (recipe.part == "input") != recipe.recurrent_first
    return array[:, :columns] if first else array[:, wanted.joint_columns - columns :]


def _slice(array: Tensor, axis: int, kept: tuple[int, int], name: str) -> Tensor:
    if array.dim() <= axis or kept[1] > array.shape[axis]:
        word = ("rows", "columns")[axis]
        raise ConversionError(f"{name}: {word} {list(kept)} are not all there in {shape_of(array)}", _MEND)
    return array.narrow(axis, kept[0], kept[1] - kept[0])


def _squeezed(array: Tensor, wanted: Wanted) -> Tensor:
    """Without axes of one, as a bias may have, where that makes it the shape that is wanted."""
    if array.dim() != len(wanted.shape) and [size for size in array.shape if size != 1] == [
        size for size in wanted.shape if size != 1
    ]:
        return array.reshape(wanted.shape)
    return array


def _by_gates(recipe: Recipe, wanted: Wanted, array: Tensor) -> Tensor:
    if recipe.gates is None:
        assert not isinstance(recipe.scale, dict)
        assert not isinstance(recipe.add, dict)
        return array * recipe.scale + recipe.add if recipe.scale != 1.0 or recipe.add != 0.0 else array
    order = canonical(recipe.gates, wanted.cell, wanted.gates, wanted.name)
    if array.dim() == 0 or array.shape[0] % len(order):
        raise ConversionError(f"{wanted.name}: {shape_of(array)} has no rows for {len(order)} gates", _MEND)
    scale, add = _each(recipe.scale, 1.0, recipe, wanted), _each(recipe.add, 0.0, recipe, wanted)
    blocks = array.reshape(len(order), -1, *array.shape[1:])
    return torch.cat([blocks[order.index(gate)] * scale[gate] + add[gate] for gate in wanted.gates])


def _each(
    given: float | Mapping[str, float], otherwise: float, recipe: Recipe, wanted: Wanted
) -> dict[str, float]:
    if not isinstance(given, Mapping):
        return dict.fromkeys(wanted.gates, given)
    assert recipe.gates is not None
    each = dict.fromkeys(wanted.gates, otherwise)
    for letter, number in given.items():
        if letter not in recipe.gates:
            raise ConversionError(f"{wanted.name}: gate {letter!r} is not in gates {recipe.gates!r}", _MEND)
        each[canonical(recipe.gates, wanted.cell, wanted.gates, wanted.name)[recipe.gates.index(letter)]] = (
            number
        )
    return each
