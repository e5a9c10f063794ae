"""What the tensors of an ONNX graph are, as far as a recurrent network needs to know.

A tensor is a constant (a NumPy array; dimensions that are not known are `Axis` objects in it), data on its way through
the network (`Flow`), or something else (`Opaque`), which matters only where a recurrent layer or an output needs it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from gatehouse_server.convert.recurrent_layers import FoundDirection
from gatehouse_server.network.layer_spec import Direction, Merge

Array = NDArray[Any]
Scores = Literal["softmax", "log_softmax", "sigmoid"]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a tensor. `size`: None if it may differ from run to run. `of`: axes that were joined to this one."""

    name: str
    size: int | None = None
    of: tuple["Axis", ...] = ()


DIRECTIONS: Final = Axis("directions")
FEATURES: Final = Axis("features")


@dataclass(frozen=True, slots=True)
class RawInput:
    """An input of the graph."""

    name: str
    integers: bool


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Rows of `table` (V, E), by token ids."""

    table: Array
    ids: RawInput


@dataclass(frozen=True, slots=True, eq=False)
class NodeDirection:
    """One direction of one recurrent node, and what it reads: `source`, whose axes of time and batch are named."""

    node: str
    direction: Direction
    found: FoundDirection
    source: "Value"
    time: Axis
    batch: Axis


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """What recurrent nodes hand on. `parts` lie along DIRECTIONS or, once there is a `merge`, in FEATURES.

    `pooling`: how steps became one; `cell`: the cell state, which nobody reads but a next call.
    """

    parts: tuple[NodeDirection, ...]
    merge: Merge | None = None
    pooling: str | None = None
    cell: bool = False

    @property
    def width(self) -> int:
        """The size of FEATURES."""
        return self.parts[0].found.hidden_size * (len(self.parts) if self.merge == "concat" else 1)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What a dense layer makes of `hidden`: weight (O, R), bias (O,) or None. `node`: the one that multiplies."""

    node: str
    hidden: "Flow"
    weight: Array
    bias: Array | None = None
    scores: Scores | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Data. `tensor`: its name in the graph."""

    tensor: str
    axes: tuple[Axis, ...]
    origin: RawInput | Embedded | Hidden | Scored

    def size(self, axis: Axis) -> int | None:
        """How large one of its axes is, as far as known."""
        if axis == FEATURES:
            if isinstance(self.origin, Hidden):
                return self.origin.width
            if isinstance(self.origin, Scored):
                return int(self.origin.weight.shape[0])
            return int(self.origin.table.shape[1]) if isinstance(self.origin, Embedded) else None
        if axis == DIRECTIONS:
            return len(self.origin.parts) if isinstance(self.origin, Hidden) else None
        return axis.size


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """Something that nothing here computes. `made_by`: the node, for people. `raw`: it is a part of this input alone.

    `because`: what of the node is in the way, where that is not the whole operator.
    """

    made_by: str
    raw: str | None = None
    because: str = ""

    def told(self) -> str:
        """For messages."""
        return f"{self.made_by}: {self.because}" if self.because else self.made_by


Value = Array | Flow | Opaque


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """One node with what it reads. `label`: for messages. An input that is left out is None."""

    label: str
    kind: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int

    def constant(self, number: int) -> Array | None:
        """An input that is a constant; None otherwise."""
        value = self.inputs[number] if number < len(self.inputs) else None
        return value if isinstance(value, np.ndarray) else None

    @property
    def constants(self) -> tuple[Array | None, ...]:
        """All inputs, those that are no constants as None."""
        return tuple(self.constant(number) for number in range(len(self.inputs)))


class NotFoldableError(ValueError):
    """What a node makes is not known."""


def data_of(node: GraphNode) -> Flow:
    """The first input. Raises NotFoldableError unless that is data."""
    value = node.inputs[0]
    if not isinstance(value, Flow):
        raise NotFoldableError
    return value


def moved(node: GraphNode, flow: Flow, axes: Sequence[Axis], origin: Hidden | None = None) -> Flow:
    """`flow` as the first output of a node, with these axes."""
    return Flow(node.outputs[0], tuple(axes), flow.origin if origin is None else origin)
