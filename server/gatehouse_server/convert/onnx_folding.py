"""Nodes whose inputs are constants, computed: exporters leave the arithmetic of shapes and of gate orders in the graph.

Dimensions that are not known are `Axis` objects in arrays of objects; there is no arithmetic with them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper

from gatehouse_server.convert.onnx_values import Array, Axis, NotFoldableError

MOST_NUMBERS: Final = 2**28
"""What one node, and all nodes of a graph together, may make: more are no shapes, and no weights of one machine."""
_MOST_COMPARED = 2**12
_VIEWING = frozenset(
    {"Constant", "Identity", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
_WHOLE = {TensorProto.INT32, TensorProto.INT64}

Attributes = Mapping[str, Any]
Inputs = Sequence[Array | None]


class TooManyNumbersError(Exception):
    """A node would make more than MOST_NUMBERS: so many."""

    def __init__(self, numbers: int) -> None:
        super().__init__(numbers)
        self.numbers = numbers


def made_numbers(kind: str, made: Sequence[Array]) -> int:
    """How many numbers a node made anew, in memory of their own."""
    return 0 if kind in _VIEWING else sum(each.size for each in made)


def fold(kind: str, inputs: Inputs, attributes: Attributes, opset: int) -> list[Array]:
    """The outputs. Raises NotFoldableError, and TooManyNumbersError before memory is asked for."""
    if kind not in _FOLDERS:
        raise NotFoldableError
    try:
        made = _FOLDERS[kind](inputs, attributes, opset)
    except (ValueError, TypeError, LookupError, AttributeError, MemoryError, OverflowError) as error:
        raise NotFoldableError from error
    return made if isinstance(made, list) else [made]


def axes_given(inputs: Inputs, attributes: Attributes, rank: int) -> list[int] | None:
    """The axes of a Squeeze, Unsqueeze or reduction: an attribute in old versions, an input in new ones."""
    given: Any = attributes.get("axes")
    if given is None and len(inputs) > 1:
        given = inputs[1]
    return None if given is None else sorted(_place(int(axis), rank) for axis in np.asarray(given).ravel())


def slices_given(inputs: Inputs, attributes: Attributes, rank: int) -> list[slice]:
    """The slice of each axis that a Slice takes. Raises NotFoldableError for bounds that are not known."""
    names = ("starts", "ends", "axes", "steps")
    given = [attributes.get(name) for name in names]
    for number, value in enumerate(inputs[1:5]):
        given[number] = value if value is not None else given[number]
    if (
        given[0] is None
        or given[1] is None
        or any(np.asarray(each).dtype == object for each in given if each is not None)
    ):
        raise NotFoldableError
    starts, ends = (np.asarray(each).ravel().tolist() for each in given[:2])
    axes = list(range(len(starts))) if given[2] is None else np.asarray(given[2]).ravel().tolist()
    steps = [1] * len(starts) if given[3] is None else np.asarray(given[3]).ravel().tolist()
    slices = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # ONNX writes "to the end" as any large number; before the beginning, as any very negative one.
        slices[_place(int(axis), rank)] = slice(start, None if end < -(2**31) else end, step)
    return slices


def _constant(_: Inputs, attributes: Attributes, __: int) -> Array:
    for name, kind in (("value_float", np.float32), ("value_int", np.int64)):
        if name in attributes:
            return np.asarray(attributes[name], kind)
    for name, kind in (("value_floats", np.float32), ("value_ints", np.int64)):
        if name in attributes:
            return np.asarray(attributes[name], kind)
    raise NotFoldableError


def _constant_of_shape(inputs: Inputs, attributes: Attributes, _: int) -> Array:
    value = np.asarray(attributes.get("value", np.zeros(1, np.float32))).ravel()[0]
    return _limited(np.full, _broadcastable(_first(inputs)), value)


def _expand(inputs: Inputs, _: Attributes, __: int) -> Array:
    data, shape = _first(inputs), _broadcastable(np.asarray(inputs[1]))
    target = np.broadcast_shapes(data.shape, shape)
    return _limited(lambda size: np.broadcast_to(data, size).copy(), list(target))


def _broadcastable(shape: Array) -> list[int]:
    """A shape with 1 where the dimension is not known: what is the same along it."""
    return [1 if isinstance(size, Axis) else int(size) for size in shape.ravel().tolist()]


def _limited(make: Callable[..., Array], shape: list[int], *more: Any) -> Array:
    if min(shape, default=1) < 0:
        raise NotFoldableError
    _check_size(math.prod(shape))
    return make(shape, *more)


def _check_size(numbers: int) -> None:
    if numbers > MOST_NUMBERS:
        raise TooManyNumbersError(numbers)


def _cast(inputs: Inputs, attributes: Attributes, _: int) -> Array:
    data, to = _first(inputs), attributes["to"]
    if data.dtype == object:
        if to not in _WHOLE:
            raise NotFoldableError
        return data
    return data.astype(helper.tensor_dtype_to_np_dtype(to))


def _reshape(inputs: Inputs, attributes: Attributes, _: int) -> Array:
    data, target = _first(inputs), np.asarray(inputs[1]).ravel().tolist()
    if attributes.get("allowzero"):
        raise NotFoldableError
    return data.reshape([data.shape[place] if size == 0 else int(size) for place, size in enumerate(target)])


def _squeeze(inputs: Inputs, attributes: Attributes, _: int) -> Array:
    data = _first(inputs)
    axes = axes_given(inputs, attributes, data.ndim)
    return np.squeeze(data, None if axes is None else tuple(axes))


def _unsqueeze(inputs: Inputs, attributes: Attributes, _: int) -> Array:
    data = _first(inputs)
    given = np.asarray(attributes["axes"] if "axes" in attributes else inputs[1]).ravel()
    return np.expand_dims(data, tuple(int(axis) for axis in given))


def _split(inputs: Inputs, attributes: Attributes, _: int) -> list[Array]:
    data = _first(inputs)
    sizes = attributes.get("split", inputs[1] if len(inputs) > 1 else None)
    if sizes is None:
        raise NotFoldableError
    return np.split(data, np.cumsum(np.asarray(sizes))[:-1], axis=attributes.get("axis", 0))


def _gather(inputs: Inputs, attributes: Attributes, _: int) -> Array:
    data, places, axis = _first(inputs), np.asarray(inputs[1]), attributes.get("axis", 0)
    _check_size(data.size // max(1, data.shape[axis]) * places.size)
    return np.asarray(np.take(data, places, axis=axis))


def _concat(inputs: Inputs, attributes: Attributes, _: int) -> Array:
    parts = [np.asarray(each) for each in inputs if each is not None]
    _check_size(sum(part.size for part in parts))
    return np.concatenate(parts, axis=attributes["axis"])


def _slice(inputs: Inputs, attributes: Attributes, _: int) -> Array:
    data = _first(inputs)
    return data[tuple(slices_given(inputs, attributes, data.ndim))]


def _transpose(inputs: Inputs, attributes: Attributes, _: int) -> Array:
    return np.transpose(_first(inputs), attributes.get("perm"))


def _whole(compute: Callable[[Array, Array], Array]) -> "Folder":
    """Arithmetic of shapes: on integers alone, so that no weight is computed anew."""

    def folded(inputs: Inputs, _: Attributes, __: int) -> Array:
        first, second = (np.asarray(each) for each in inputs)
        if not all(each.dtype == object or each.dtype.kind in "iu" for each in (first, second)):
            raise NotFoldableError
        _check_size(np.broadcast(first, second).size)
        return compute(first, second)

    return folded


def _equal(first: Array, second: Array) -> Array:
    pairs = np.broadcast(first, second)
    if pairs.size > _MOST_COMPARED:
        raise NotFoldableError
    # A dimension that is not known is not -1, as exporters ask; whether it is any other number is not known.
    if any(
        isinstance(one, Axis) != isinstance(other, Axis) and (other if isinstance(one, Axis) else one) >= 0
        for one, other in pairs
    ):
        raise NotFoldableError
    return np.asarray(first == second, bool)


def _where(inputs: Inputs, _: Attributes, __: int) -> Array:
    condition, first, second = (np.asarray(each) for each in inputs)
    _check_size(np.broadcast(condition, first, second).size)
    return np.where(condition, first, second)


def _tile(inputs: Inputs, _: Attributes, __: int) -> Array:
    data, repeats = _first(inputs), np.asarray(inputs[1]).ravel().tolist()
    for place, times in enumerate(repeats):
        # Along an axis of size 1 it stays the same all along, however often.
        if isinstance(times, Axis) and data.shape[place] != 1:
            raise NotFoldableError
    sizes = [
        size * (1 if isinstance(times, Axis) else times)
        for size, times in zip(data.shape, repeats, strict=True)
    ]
    return _limited(lambda _: np.tile(data, _broadcastable(np.asarray(inputs[1]))), sizes)


def _first(inputs: Inputs) -> Array:
    if not inputs or inputs[0] is None:
        raise NotFoldableError
    return inputs[0]


def _place(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise NotFoldableError
    return axis % rank


Folder = Callable[[Inputs, Attributes, int], Array | list[Array]]

_FOLDERS: Final[Mapping[str, Folder]] = {
    "Add": _whole(np.add),
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Equal": _whole(_equal),
    "Expand": _expand,
    "Gather": _gather,
    "Identity": lambda inputs, _, __: _first(inputs),
    "Mul": _whole(np.multiply),
    "Reshape": _reshape,
    "Shape": lambda inputs, _, __: np.asarray(_first(inputs).shape, np.int64),
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _whole(np.subtract),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
