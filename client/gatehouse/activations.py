"""What goes on inside of a model: gates and states of its layers at each step of a write or a document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gatehouse.floats import float_matrix
from gatehouse.v1 import online_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """One quantity of a layer, by the cell's own name: `input`, `forget`, `output`, `candidate`, `cell` and `hidden` of
    an LSTM, `reset`, `update`, `candidate` and `hidden` of a GRU, `hidden` of a simple cell.

    `values` has a row for each step and a column for each unit: a read-only memoryview of float32 with two dimensions,
    which `numpy.asarray` takes without a copy.
    """

    name: str
    values: memoryview[float]

    @property
    def steps(self) -> int:
        """T."""
        return _shape(self.values)[0]

    @property
    def width(self) -> int:
        """How many units."""
        return _shape(self.values)[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerActivations:
    """One direction of one layer. `layer` counts from 0, the lowest; `reverse` is the direction from the end of the
    sequence to its beginning. Rows are in the order of the steps either way.
    """

    layer: int
    reverse: bool
    activations: tuple[Activation, ...]

    def __getitem__(self, name: str) -> memoryview[float]:
        """The values of the quantity with this name. KeyError when the cell has none."""
        for activation in self.activations:
            if activation.name == name:
                return activation.values
        raise KeyError(name)


def of_layers(messages: Iterable[online_pb2.LayerActivations]) -> tuple[LayerActivations, ...]:
    """From protobuf."""
    return tuple(
        LayerActivations(
            layer=message.layer,
            reverse=message.reverse,
            activations=tuple(
                Activation(name=entry.name, values=float_matrix(entry.values, entry.width))
                for entry in message.activations
            ),
        )
        for message in messages
    )


def _shape(values: memoryview[float]) -> tuple[int, ...]:
    assert values.shape is not None, "only numbers without dimensions have no shape"
    return values.shape
