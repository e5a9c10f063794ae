"""Nodes around recurrent ones that compute something: merges of directions, poolings, the dense layer, its scores."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from gatehouse_server.convert.onnx_folding import axes_given
from gatehouse_server.convert.onnx_steps import is_vector, pool, time_of
from gatehouse_server.convert.onnx_values import (
    DIRECTIONS,
    FEATURES,
    Array,
    Axis,
    Flow,
    GraphNode,
    Hidden,
    Scored,
    Scores,
    Value,
)
from gatehouse_server.network.layer_spec import Merge

_SCORES: Mapping[str, Scores] = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
_LAST_AXIS_SINCE = 13


def compute(node: GraphNode) -> list[Value] | None:
    """The output of a node that reads data; None if nothing here computes it."""
    computer = _COMPUTERS.get(node.kind)
    if computer is None:
        return None
    try:
        made = computer(node)
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    return None if made is None else [made]


def _matmul(node: GraphNode) -> Value | None:
    flow, weight = node.inputs[0], node.constant(1)
    if not isinstance(flow, Flow) or weight is None:
        return None
    return _dense(node, flow, weight)


def _gemm(node: GraphNode) -> Value | None:
    flow, weight, bias = node.inputs[0], node.constant(1), node.constant(2)
    plain = node.attributes.get("alpha", 1.0) == 1.0 and node.attributes.get("beta", 1.0) == 1.0
    if not isinstance(flow, Flow) or weight is None or not plain or node.attributes.get("transA"):
        return None
    if len(flow.axes) != 2 or (len(node.inputs) > 2 and node.inputs[2] is not None and bias is None):
        return None
    made = _dense(node, flow, weight.T if node.attributes.get("transB") else weight)
    return made if made is None or bias is None else _biased(node, made, bias)


def _dense(node: GraphNode, flow: Flow, weight: Array) -> Flow | None:
    if not is_vector(flow) or flow.axes[-1] != FEATURES or weight.dtype != np.float32:
        return None
    if weight.ndim != 2 or weight.shape[0] != flow.size(FEATURES):
        return None
    return Flow(
        node.outputs[0], flow.axes, Scored(node.label, flow, np.ascontiguousarray(weight.T, dtype=np.float32))
    )


def _biased(node: GraphNode, flow: Flow, bias: Array) -> Flow | None:
    origin = flow.origin
    if not isinstance(origin, Scored) or origin.scores is not None or origin.bias is not None:
        return None
    size = origin.weight.shape[0]
    if bias.dtype != np.float32 or bias.ndim > len(flow.axes) or flow.axes[-1] != FEATURES:
        return None
    # It is one number for each output, or one for all; anything else is of a batch or of time.
    if bias.size not in (1, size) or (bias.size > 1 and bias.shape[-1] != size):
        return None
    whole = np.ascontiguousarray(np.broadcast_to(bias.ravel(), (size,)), dtype=np.float32)
    return Flow(node.outputs[0], flow.axes, dataclasses.replace(origin, bias=whole))


def _add(node: GraphNode) -> Value | None:
    first, second = node.inputs
    if isinstance(first, Flow) and isinstance(second, Flow):
        return _merged(node, first, second, "sum")
    flow, bias = (first, second) if isinstance(first, Flow) else (second, first)
    if not isinstance(flow, Flow) or not isinstance(bias, np.ndarray):
        return None
    return _biased(node, flow, bias)


def _mul(node: GraphNode) -> Value | None:
    first, second = node.inputs
    if isinstance(first, Flow) and isinstance(second, Flow):
        return _merged(node, first, second, "multiply")
    flow, factor = (first, second) if isinstance(first, Flow) else (second, first)
    return _halved(node, flow, factor, 0.5)


def _div(node: GraphNode) -> Value | None:
    return _halved(node, node.inputs[0], node.inputs[1], 2.0)


def _merged(node: GraphNode, first: Flow, second: Flow, merge: Merge) -> Value | None:
    """Two directions of one layer, joined value by value."""
    one, other = first.origin, second.origin
    if not isinstance(one, Hidden) or not isinstance(other, Hidden) or first.axes != second.axes:
        return None
    parts = (*one.parts, *other.parts)
    alone = len(parts) == 2 and one.merge is None and other.merge is None and DIRECTIONS not in first.axes
    if not alone or one.pooling != other.pooling or one.cell or other.cell:
        return None
    # The order does not matter to a sum or a product; ours is forward first.
    ordered = tuple(sorted(parts, key=lambda part: part.direction))
    return Flow(node.outputs[0], first.axes, dataclasses.replace(one, parts=ordered, merge=merge))


def _halved(node: GraphNode, flow: Value | None, factor: Value | None, wanted: float) -> Value | None:
    """Half of a sum is the average."""
    if not isinstance(flow, Flow) or not isinstance(flow.origin, Hidden) or flow.origin.merge != "sum":
        return None
    if not isinstance(factor, np.ndarray) or factor.size != 1 or float(factor.ravel()[0]) != wanted:
        return None
    return Flow(node.outputs[0], flow.axes, dataclasses.replace(flow.origin, merge="average"))


def _scored(node: GraphNode) -> Value | None:
    (flow,) = node.inputs
    if not isinstance(flow, Flow) or not isinstance(flow.origin, Scored) or flow.origin.scores is not None:
        return None
    if node.kind != "Sigmoid":
        rank = len(flow.axes)
        # Before operator set 13 everything from the axis on was one, and the axis was 1 unless told.
        axis = node.attributes.get("axis", -1 if node.opset >= _LAST_AXIS_SINCE else 1)
        if axis % rank != rank - 1 or flow.axes[-1] != FEATURES:
            return None
    return Flow(node.outputs[0], flow.axes, dataclasses.replace(flow.origin, scores=_SCORES[node.kind]))


def _reduced(node: GraphNode) -> Value | None:
    flow = node.inputs[0]
    if not isinstance(flow, Flow) or not isinstance(flow.origin, Hidden):
        return None
    given = axes_given(node.constants, node.attributes, len(flow.axes))
    if given is None or len(given) != 1 or flow.axes[given[0]] != time_of(flow):
        return None
    pooled = pool(flow, "mean" if node.kind == "ReduceMean" else "max")
    axes = list(pooled.axes)
    if node.attributes.get("keepdims", 1):
        axes.insert(given[0], Axis(f"{node.outputs[0]}.{given[0]}", 1))
    return Flow(node.outputs[0], tuple(axes), pooled.origin)


_COMPUTERS: Final[Mapping[str, Callable[[GraphNode], Value | None]]] = {
    "Add": _add,
    "Div": _div,
    "Gemm": _gemm,
    "LogSoftmax": _scored,
    "MatMul": _matmul,
    "Mul": _mul,
    "ReduceMax": _reduced,
    "ReduceMean": _reduced,
    "Sigmoid": _scored,
    "Softmax": _scored,
}
