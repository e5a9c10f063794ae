"""Nodes that take parts of data, or put them together: directions of a layer, and the step at which it ends."""

import dataclasses
from typing import Any

import numpy as np

from gatehouse_server.convert.onnx_folding import slices_given
from gatehouse_server.convert.onnx_steps import at_step
from gatehouse_server.convert.onnx_values import (
    DIRECTIONS,
    FEATURES,
    Axis,
    Embedded,
    Flow,
    GraphNode,
    Hidden,
    RawInput,
    Value,
    data_of,
    moved,
)


def concat(node: GraphNode) -> Value | None:
    flows = [value for value in node.inputs if isinstance(value, Flow) and isinstance(value.origin, Hidden)]
    origins = [flow.origin for flow in flows if isinstance(flow.origin, Hidden)]
    if len(flows) != len(node.inputs) or len({flow.axes for flow in flows}) != 1:
        return None
    if len({(origin.pooling, origin.cell) for origin in origins}) != 1 or any(
        origin.merge for origin in origins
    ):
        return None
    parts = tuple(part for origin in origins for part in origin.parts)
    along = flows[0].axes[int(node.attributes["axis"])]
    if along == DIRECTIONS:
        return moved(node, flows[0], flows[0].axes, dataclasses.replace(origins[0], parts=parts))
    if along == FEATURES and DIRECTIONS not in flows[0].axes:
        return moved(
            node, flows[0], flows[0].axes, dataclasses.replace(origins[0], parts=parts, merge="concat")
        )
    return None


def gather(node: GraphNode) -> Value | None:
    table, index = node.inputs[0], node.inputs[1]
    axis = int(node.attributes.get("axis", 0))
    if isinstance(table, np.ndarray) and isinstance(index, Flow):
        ids = index.origin
        if (
            table.ndim != 2
            or table.dtype != np.float32
            or axis not in (0, -2)
            or not isinstance(ids, RawInput)
        ):
            return None
        return Flow(node.outputs[0], (*index.axes, FEATURES), Embedded(table, ids)) if ids.integers else None
    flow = data_of(node)
    if not isinstance(index, np.ndarray) or index.size != 1:
        return None
    place, along = int(index.ravel()[0]), flow.axes[axis]
    rest = [other for other in flow.axes if other != along]
    kept = [flow.axes[number] for number in range(len(flow.axes))] if index.ndim else rest
    if along == DIRECTIONS and isinstance(flow.origin, Hidden):
        return moved(node, flow, kept, dataclasses.replace(flow.origin, parts=(flow.origin.parts[place],)))
    if index.ndim:
        return None
    return at_step(node.outputs[0], flow, along, place)


def take_slice(node: GraphNode) -> Value | None:
    """Some of the directions, or the step at which they end; anything else is not followed."""
    flow = data_of(node)
    if any(
        value is not None and node.constant(number) is None
        for number, value in enumerate(node.inputs)
        if number
    ):
        return None
    slices = slices_given(node.constants, node.attributes, len(flow.axes))
    cut = [(place, each) for place, each in enumerate(slices) if not _is_whole(each)]
    if not cut:
        return moved(node, flow, flow.axes)
    if len(cut) > 1:
        return None
    ((place, each),) = cut
    axis = flow.axes[place]
    if axis == DIRECTIONS and isinstance(flow.origin, Hidden):
        parts = flow.origin.parts[each]
        return moved(node, flow, flow.axes, dataclasses.replace(flow.origin, parts=parts)) if parts else None
    if each.step != 1 or not (
        (each.start == 0 and each.stop == 1) or (each.start == -1 and _is_large(each.stop))
    ):
        return None
    return at_step(node.outputs[0], flow, axis, each.start, keep=Axis(f"{node.outputs[0]}.{place}", 1))


def _is_whole(each: slice) -> bool:
    return each == slice(None) or (each.start == 0 and each.step == 1 and _is_large(each.stop))


def _is_large(stop: Any) -> bool:
    """To the end, as exporters write it."""
    return stop is not None and int(stop) >= 2**31 - 1


def split(node: GraphNode) -> list[Value] | None:
    flow = data_of(node)
    axis = flow.axes[int(node.attributes.get("axis", 0))]
    sizes = node.attributes.get("split", node.constant(1))
    if (
        axis != DIRECTIONS
        or not isinstance(flow.origin, Hidden)
        or len(node.outputs) != len(flow.origin.parts)
    ):
        return None
    if sizes is not None and set(np.asarray(sizes).tolist()) != {1}:
        return None
    return [
        Flow(name, flow.axes, dataclasses.replace(flow.origin, parts=(part,)))
        for name, part in zip(node.outputs, flow.origin.parts, strict=True)
    ]
