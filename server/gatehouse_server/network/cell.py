"""What every recurrent cell offers, so that layers need to know none of them.

A step is computed in two parts, always in this order, whether it is one step or a chunk of many:
1. `input_product`: what depends on the input alone, biases included. One product for all steps of a chunk.
2. `advance`: adds the recurrent product and applies the gates, in place, one step at a time.

Gates are kept in slots whose width is a multiple of 32: element-wise kernels then never reach their scalar
tails, whose last bit may differ from the vector code's, and a row's result cannot depend on where it lies.

tanh is computed as 2 sigmoid(2 x) - 1, with the factor 2 inside the argument folded into the weights: one
call serves all gates, and torch's tanh takes ten times longer than its sigmoid on some processors. The
absolute error stays near 1e-7.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic
from gatehouse_server.network.cell_options import DEFAULT_OPTIONS, CellOptions
from gatehouse_server.network.dense import Dense
from gatehouse_server.network.state import StatePart
from gatehouse_server.network.workspace import Workspace

_VECTOR_WIDTH = 32
_TOLD_AS = {"h": "hidden", "c": "cell"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSize:
    """The dimensions of one cell, and what it computes; `projection_size` 0 means none."""

    input_size: int
    hidden_size: int
    projection_size: int
    bias: bool
    options: CellOptions = DEFAULT_OPTIONS

    @property
    def output_size(self) -> int:
        """R: width of the output h."""
        return self.projection_size or self.hidden_size


class Cell(ABC):
    """One direction of one recurrent layer. The first part of its state is its output h.

    A cell says what parameters and state it has (`parameter_shapes`, `parts`), prepares its matrices (`prepare`) and
    takes a step (`advance`).
    """

    gates: ClassVar[int]
    projects: ClassVar[bool] = False

    def __init__(
        self,
        size: CellSize,
        parameters: Mapping[str, Tensor],
        workspace: Workspace,
        arithmetic: Arithmetic = FLOAT32,
    ) -> None:
        """`parameters` are named as `parameter_shapes` says, on the device where the cell shall compute."""
        self.size = size
        self.arithmetic = arithmetic
        self.slot = -(-size.hidden_size // _VECTOR_WIDTH) * _VECTOR_WIDTH
        self.workspace = workspace
        self.device = next(iter(parameters.values())).device
        self.minus_one = torch.tensor(-1.0, device=self.device)
        self._dense: list[Dense] = []
        self.input = self.prepare(parameters)

    @classmethod
    def parameter_shapes(cls, size: CellSize) -> dict[str, tuple[int, ...]]:
        """Names, without layer and direction, and shapes of the parameters, as in torch's modules."""
        rows = cls.gates * size.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, size.input_size),
            "weight_hh": (rows, size.output_size),
        }
        if size.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if size.projection_size:
            shapes["weight_hr"] = (size.projection_size, size.hidden_size)
        return shapes

    @classmethod
    def parts(cls, size: CellSize) -> tuple[StatePart, ...]:
        """The parts of one layer's state; the first is the output h."""
        return (StatePart(name="h", width=size.output_size),)

    @classmethod
    def check_options(cls, options: CellOptions) -> None:
        """Raises ValueError for `options.extra` that the cell does not know; by default it knows none."""
        for name, _ in options.extra:
            raise ValueError(f"{name}: not an option of this cell, which has none")

    @abstractmethod
    def prepare(self, parameters: Mapping[str, Tensor]) -> Dense:
        """Makes of the parameters what `advance` needs, each matrix by `dense`; returns the input's product."""

    @abstractmethod
    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        """One step in place: `product` (n, G) of the input, destroyed; `parts` contiguous (n, width) each."""

    def look(self, product: Tensor, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """One step, and what went on in it: by name (n, width) each. `product` is destroyed, `parts` move on.

        Of a cell that tells no more, the state after the step. For people who look, not for speed.
        """
        self.advance(product, parts)
        return self.state_by_name(parts)

    def state_by_name(self, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Copies of the parts of the state, by the names that people know them by."""
        names = (part.name for part in self.parts(self.size))
        return {_TOLD_AS.get(name, name): part.clone() for name, part in zip(names, parts, strict=True)}

    def dense(self, weight: Tensor, bias: Tensor | None = None) -> Dense:
        """A matrix product x W^T + b of the cell, in the arithmetic that was asked for."""
        made = Dense(weight, bias, self.arithmetic)
        self._dense.append(made)
        return made

    def input_product(self, x: Tensor) -> Tensor:
        """x (N, F) -> (N, G): all that depends on the input alone."""
        return self.input.product(x)

    @property
    def product_width(self) -> int:
        """G: width of what `input_product` returns."""
        return self.input.outputs

    @property
    def dense_layers(self) -> tuple[Dense, ...]:
        """All matrix products of the cell."""
        return tuple(self._dense)

    def spread(self, parameter: Tensor, factors: tuple[float, ...]) -> Tensor:
        """(gates * H, ...) -> (gates * slot, ...): gate i times factors[i], each in a slot, zeros between."""
        gates = parameter.float().reshape(len(factors), self.size.hidden_size, *parameter.shape[1:])
        spread = gates.new_zeros(len(factors), self.slot, *gates.shape[2:])
        for index, factor in enumerate(factors):
            spread[index, : self.size.hidden_size] = gates[index] * factor
        return spread.flatten(0, 1)

    def gate_views(self, gates: Tensor) -> tuple[Tensor, ...]:
        """(n, gates * slot) -> for each gate its (n, H) view."""
        slots = gates.view(-1, self.gates, self.slot)
        if self.slot != self.size.hidden_size:
            slots = slots[:, :, : self.size.hidden_size]
        return slots.unbind(1)
