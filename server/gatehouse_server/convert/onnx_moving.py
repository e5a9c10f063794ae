"""Nodes that move data about: their axes are followed, nothing is computed."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from onnx import TensorProto

from gatehouse_server.convert.onnx_folding import axes_given
from gatehouse_server.convert.onnx_picking import concat, gather, split, take_slice
from gatehouse_server.convert.onnx_shapes import regroup
from gatehouse_server.convert.onnx_values import (
    DIRECTIONS,
    FEATURES,
    Axis,
    Flow,
    GraphNode,
    Hidden,
    RawInput,
    Value,
    data_of,
    moved,
)

_WHOLE = {TensorProto.INT32, TensorProto.INT64}


def move(node: GraphNode) -> list[Value] | None:
    """The outputs of a node that reads data; None if it is not one of those, or what it does can't be followed."""
    mover = _MOVERS.get(node.kind)
    if mover is None:
        return None
    try:
        made = mover(node)
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    if made is None:
        return None
    return made if isinstance(made, list) else [made]


def _same(node: GraphNode) -> Value | None:
    flow = data_of(node)
    training = node.constant(2) if node.kind == "Dropout" else None
    if (
        node.kind == "Dropout"
        and len(node.inputs) > 2
        and node.inputs[2] is not None
        and (training is None or training.any())
    ):
        return None
    return moved(node, flow, flow.axes)


def _cast(node: GraphNode) -> Value | None:
    flow = data_of(node)
    integers = isinstance(flow.origin, RawInput) and flow.origin.integers
    if node.attributes["to"] in (_WHOLE if integers else {TensorProto.FLOAT}):
        return moved(node, flow, flow.axes)
    return None


def _transpose(node: GraphNode) -> Value:
    flow = data_of(node)
    order = node.attributes.get("perm", range(len(flow.axes))[::-1])
    return moved(node, flow, [flow.axes[place] for place in order])


def _squeeze(node: GraphNode) -> Value | None:
    flow = data_of(node)
    given = axes_given(node.constants, node.attributes, len(flow.axes))
    if given is None:
        if len(node.inputs) > 1:
            return None
        given = [place for place, axis in enumerate(flow.axes) if flow.size(axis) == 1]
    if any(flow.size(flow.axes[place]) != 1 or flow.axes[place] == FEATURES for place in given):
        return None
    return moved(node, flow, [axis for place, axis in enumerate(flow.axes) if place not in given])


def _unsqueeze(node: GraphNode) -> Value | None:
    flow = data_of(node)
    count = np.asarray(node.attributes.get("axes", node.constant(1))).size
    given = axes_given(node.constants, node.attributes, len(flow.axes) + count)
    if given is None:
        return None
    axes = list(flow.axes)
    for place in given:
        axes.insert(place, Axis(f"{node.outputs[0]}.{place}", 1))
    return moved(node, flow, axes)


def _reshape(node: GraphNode) -> Value | None:
    target = node.constant(1)
    if target is None or node.attributes.get("allowzero"):
        return None
    return _regrouped(node, target.ravel().tolist())


def _flatten(node: GraphNode) -> Value | None:
    axis = int(node.attributes.get("axis", 1)) % max(1, len(data_of(node).axes))
    flow = data_of(node)
    if axis == len(flow.axes) - 1:
        size = flow.size(flow.axes[-1])
        return None if size is None else _regrouped(node, [-1, size])
    return None


def _regrouped(node: GraphNode, target: Sequence[int | Axis]) -> Value | None:
    flow = data_of(node)
    groups = regroup([(axis, flow.size(axis)) for axis in flow.axes], target)
    if groups is None:
        return None
    axes: list[Axis] = []
    origin = flow.origin
    for place, group in enumerate(groups):
        if group == [DIRECTIONS, FEATURES] and isinstance(origin, Hidden):
            axes.append(FEATURES)
            if len(origin.parts) > 1:
                origin = dataclasses.replace(origin, merge="concat")
            continue
        wide = [axis for axis in group if flow.size(axis) != 1] or group[:1]
        if len(wide) > 1 and {FEATURES, DIRECTIONS} & set(wide):
            return None
        axes.append(wide[0] if len(wide) == 1 else _joined(f"{node.outputs[0]}.{place}", wide))
    if FEATURES in flow.axes and FEATURES not in axes:
        return None
    return Flow(node.outputs[0], tuple(axes), origin)


def _joined(name: str, axes: Sequence[Axis]) -> Axis:
    if not axes:
        return Axis(name, 1)
    sizes = [axis.size for axis in axes]
    known = [size for size in sizes if size is not None]
    return Axis(name, math.prod(known) if len(known) == len(sizes) else None, tuple(axes))


def _shape(node: GraphNode) -> Value:
    flow = data_of(node)
    sizes = np.empty(len(flow.axes), dtype=object)
    for place, axis in enumerate(flow.axes):
        size = flow.size(axis)
        sizes[place] = axis if size is None else size
    return sizes[node.attributes.get("start", 0) : node.attributes.get("end")]


_MOVERS: Final[Mapping[str, Callable[[GraphNode], Value | list[Value] | None]]] = {
    "Cast": _cast,
    "Concat": concat,
    "Dropout": _same,
    "Flatten": _flatten,
    "Gather": gather,
    "Identity": _same,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": take_slice,
    "Split": split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
