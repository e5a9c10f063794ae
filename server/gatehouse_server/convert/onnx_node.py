"""Recurrent nodes in their graph: where their weights and states come from, what they read and hand on."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatehouse_server.convert.onnx_recurrent import NodeWeights, check_attributes, read_directions
from gatehouse_server.convert.onnx_values import (
    DIRECTIONS,
    FEATURES,
    Array,
    Axis,
    Embedded,
    Flow,
    GraphNode,
    Hidden,
    NodeDirection,
    Opaque,
    RawInput,
    Scored,
    Value,
)
from gatehouse_server.convert.port import ConversionError

_X, _W, _R, _B, _LENGTHS, _INITIAL_H, _INITIAL_C, _P = range(8)
_NAMES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_EXPORT = "export the model again, with its weights as constants"


class RecurrentNodes:
    """Reads the recurrent nodes of one graph. `notes`: lines about what was found. `handed_on`: by each, in order."""

    def __init__(self, test_inputs: Mapping[str, Array]) -> None:
        self._test_inputs = test_inputs
        self.notes: list[str] = []
        self.handed_on: list[Flow] = []
        self.weight_inputs: dict[str, Array] = {}
        """Inputs of the graph that are weights, and what the test data beside the model give for them."""

    def read(self, node: GraphNode) -> list[Value]:
        """Y, Y_h and, of an LSTM, Y_c. Raises ConversionError."""
        check_attributes(node.label, node.kind, node.attributes)
        batch_first = bool(node.attributes.get("layout", 0))
        source, time, batch = self._source(node, batch_first)
        weights = NodeWeights(
            W=self._weight(node, _W),
            R=self._weight(node, _R),
            B=self._optional_weight(node, _B),
            P=self._optional_weight(node, _P),
            initial_h=self._initial(node, _INITIAL_H, batch_first),
            initial_c=self._initial(node, _INITIAL_C, batch_first),
        )
        self._check_lengths(node, time)
        found = read_directions(node.label, node.kind, node.attributes, weights)
        parts = tuple(
            NodeDirection(node.label, direction, one, source, time, batch) for direction, one in found
        )
        self._check_width(node, source, parts[0].found.input_size)
        every = (batch, time, DIRECTIONS, FEATURES) if batch_first else (time, DIRECTIONS, batch, FEATURES)
        last = (batch, DIRECTIONS, FEATURES) if batch_first else (DIRECTIONS, batch, FEATURES)
        made = [
            (every, Hidden(parts)),
            (last, Hidden(parts, pooling="last")),
            (last, Hidden(parts, pooling="last", cell=True)),
        ]
        outputs = [Flow(name, *one) for name, one in zip(node.outputs, made, strict=False)]
        self.handed_on += [flow for flow in outputs if flow.tensor][:1]
        return list(outputs)

    def _source(self, node: GraphNode, batch_first: bool) -> tuple[Value, Axis, Axis]:
        """What the node reads, and its axes of time and batch."""
        value = _input(node, _X)
        if isinstance(value, Flow) and not isinstance(value.origin, Scored):
            if len(value.axes) != 3:
                raise ConversionError(
                    f"{node.label}: X has {len(value.axes)} dimensions, expected 3", _EXPORT
                )
            batch, time = value.axes[:2] if batch_first else value.axes[1::-1]
            usable = value.axes[2] == FEATURES or isinstance(value.origin, RawInput)
            if isinstance(value.origin, Hidden):
                usable = usable and value.origin.pooling is None
                usable = (
                    usable and value.origin.parts[0].time == time and value.origin.parts[0].batch == batch
                )
            if isinstance(value.origin, RawInput) and value.origin.integers:
                usable = False
            if not usable:
                raise ConversionError(
                    f"{node.label}: X is not the steps of what lies below it, in the order of attribute layout",
                    "nothing here computes it",
                )
            return value, time, batch
        if isinstance(value, Flow):
            assert isinstance(value.origin, Scored)
            value = Opaque(value.origin.node)
        if not isinstance(value, Opaque):
            raise ConversionError(f"{node.label}: X is a constant", _EXPORT)
        return value, Axis(f"{node.label}.time"), Axis(f"{node.label}.batch")

    def _weight(self, node: GraphNode, number: int) -> Array:
        value = _input(node, number)
        name = _NAMES[number]
        if isinstance(value, Flow) and isinstance(value.origin, RawInput):
            given = self._test_inputs.get(value.origin.name)
            if given is None:
                raise ConversionError(
                    f"{node.label}: {name} is an input of the graph, not part of the model", _EXPORT
                )
            if value.origin.name not in self.weight_inputs:
                self.weight_inputs[value.origin.name] = given
                self.notes.append(
                    f"{node.label}: {name} is the graph's input {value.origin.name}, taken from the test data beside it"
                )
            value = given
        if isinstance(value, Opaque):
            raise ConversionError(f"{node.label}: {name} is computed by {value.told()}", _EXPORT)
        if not isinstance(value, np.ndarray) or value.dtype != np.float32:
            raise ConversionError(f"{node.label}: {name} is no constant of type float32", _EXPORT)
        return value

    def _optional_weight(self, node: GraphNode, number: int) -> Array | None:
        return None if _input(node, number) is None else self._weight(node, number)

    def _initial(self, node: GraphNode, number: int, batch_first: bool) -> Array | None:
        """(D, H) of a state that is a constant; None for zeros and for a state that a caller hands in."""
        value, name = _input(node, number), _NAMES[number]
        if value is None:
            return None
        raw = _raw_name(value)
        if raw is not None:
            self.notes.append(
                f"{node.label}: {name} is the graph's input {raw}: here the session keeps it, and begins with zeros"
            )
            return None
        if not isinstance(value, np.ndarray) or value.dtype != np.float32:
            made_by = f"computed by {value.told()}" if isinstance(value, Opaque) else "made from other data"
            raise ConversionError(
                f"{node.label}: {name} is {made_by}", "only constants and inputs can be the state"
            )
        if value.ndim != 3:
            raise ConversionError(f"{node.label}: {name} has {value.ndim} dimensions, expected 3", _EXPORT)
        rows = value.transpose(1, 0, 2) if batch_first else value
        if not (rows == rows[:, :1]).all():
            raise ConversionError(f"{node.label}: {name} differs between the sequences of a batch", _EXPORT)
        if not rows.any():
            return None
        return np.ascontiguousarray(rows[:, 0])

    def _check_lengths(self, node: GraphNode, time: Axis) -> None:
        """Lengths are of documents here, so that they may be handed in, or be those of whole sequences."""
        value = _input(node, _LENGTHS)
        if value is None or _raw_name(value) is not None:
            return
        if isinstance(value, np.ndarray):
            lengths: set[Any] = set(value.ravel().tolist())
            if lengths <= ({time} if time.size is None else {time, time.size}):
                return
        raise ConversionError(
            f"{node.label}: sequence_lens is a constant, or computed in the graph",
            "make it an input, or leave it out",
        )

    def _check_width(self, node: GraphNode, source: Value, width: int) -> None:
        if not isinstance(source, Flow):
            return
        got = source.size(FEATURES) if isinstance(source.origin, Hidden | Embedded) else source.axes[2].size
        if got not in (None, width):
            raise ConversionError(f"{node.label}: X has {got} values a step, W is for {width}", _EXPORT)


def _input(node: GraphNode, number: int) -> Value | None:
    return node.inputs[number] if number < len(node.inputs) else None


def _raw_name(value: Value) -> str | None:
    """The input that it is, or is a part of."""
    if isinstance(value, Opaque):
        return value.raw
    return value.origin.name if isinstance(value, Flow) and isinstance(value.origin, RawInput) else None
