"""Layers on top of each other, in one direction or two."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic
from gatehouse_server.network.cell import Cell
from gatehouse_server.network.layer_spec import Direction, LayerSpec, initial_name
from gatehouse_server.network.merging import merge_into
from gatehouse_server.network.scan import EmbeddedProduct, FoldedTable, InputProduct, Scan
from gatehouse_server.network.spec import (
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
    recurrent_name,
    state_layout,
)
from gatehouse_server.network.state import State, StateLayout
from gatehouse_server.network.workspace import Workspace

_FLOAT_BYTES = 4


class Stack:
    """All recurrent layers of a network, the input included.

    `layers` holds for each layer its scans by their directions.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        parameters: Mapping[str, Tensor],
        workspace: Workspace,
        fold_limit_bytes: int,
        arithmetic: Arithmetic = FLOAT32,
    ) -> None:
        """`parameters` are those of the whole network, float32, on the device where it shall compute."""
        self.spec: RecurrentSpec = spec.recurrent
        self.workspace = workspace
        self._embedding: Tensor | None = None
        self.folded_bytes = 0
        self.device = next(iter(parameters.values())).device
        cells = [
            [
                _cell_of(layer, parameters, number, direction, workspace, arithmetic)
                for direction in layer.directions
            ]
            for number, layer in enumerate(self.spec.layers)
        ]
        products: list[list[InputProduct]] = [[cell.input_product for cell in pair] for pair in cells]
        if isinstance(spec.input, TokenInputSpec):
            products[0] = self._token_products(cells[0], parameters["embedding.weight"], fold_limit_bytes)
        self.layers = [
            {
                direction: Scan(cell, product, _initial_of(layer, cell, parameters, number, direction))
                for direction, cell, product in zip(layer.directions, pair, row, strict=True)
            }
            for number, (layer, pair, row) in enumerate(zip(self.spec.layers, cells, products, strict=True))
        ]
        self._dense = [dense for pair in cells for cell in pair for dense in cell.dense_layers]

    def _token_products(
        self, cells: list[Cell], embedding: Tensor, fold_limit_bytes: int
    ) -> list[InputProduct]:
        table_bytes = sum(_FLOAT_BYTES * embedding.shape[0] * cell.product_width for cell in cells)
        if table_bytes <= fold_limit_bytes:
            self.folded_bytes = table_bytes
            return [FoldedTable(cell, embedding, self.workspace) for cell in cells]
        self._embedding = embedding.contiguous()
        return [EmbeddedProduct(cell, self._embedding, self.workspace) for cell in cells]

    @cached_property
    def layout(self) -> StateLayout:
        """The state between steps. Raises ValueError for a stack with a reverse direction."""
        return state_layout(self.spec)

    def initial(self, rows: int) -> State:
        """The state before the first step, in the order of `layout`."""
        return tuple(part for scans in self.layers for part in scans["forward"].initial(rows))

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all weights in use, folded tables not counted."""
        return sum(dense.bytes for dense in self._dense) + (
            0 if self._embedding is None else self._embedding.nbytes
        )

    @property
    def reproducible(self) -> bool:
        """Whether every product proved that its rows are independent."""
        return all(dense.reproducible for dense in self._dense)

    def record(self) -> None:
        """Has the steps of all layers run as one call each. Raises NotRecordableError."""
        for scans in self.layers:
            for scan in scans.values():
                scan.record()

    def scan(self, inputs: Tensor, batch_sizes: Sequence[int], state: State) -> Tensor:
        """One direction over packed inputs; `state`, in the order of `layout`, is updated in place."""
        first = 0
        for layer, scans in enumerate(self.layers):
            scan = scans["forward"]
            parts = state[first : first + len(scan.parts)]
            if batch_sizes[0] != parts[0].shape[0]:
                parts = tuple(part[: batch_sizes[0]] for part in parts)
            first += len(scan.parts)
            if len(batch_sizes) == 1:
                scan.single(inputs, parts)
                inputs = parts[0]
            else:
                outputs = self._outputs(layer, inputs.shape[0])
                scan.forward(inputs, batch_sizes, parts, outputs)
                inputs = outputs
        return inputs

    def step(self, inputs: Tensor, state: State) -> Tensor:
        """One step of every row, in place, unchecked and the same way for any number of rows: it may be recorded."""
        first = 0
        for scans in self.layers:
            scan = scans["forward"]
            parts = state[first : first + len(scan.parts)]
            first += len(scan.parts)
            scan.cell.advance(scan.product(inputs), parts)
            inputs = parts[0]
        return inputs

    def encode(self, inputs: Tensor, batch_sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Whole sequences from the initial state: outputs packed (N, R), and each sequence's end (B, R).

        The end is the forward output at the last step and the reverse output at the first, merged.
        """
        last = inputs
        for number, scans in enumerate(self.layers):
            outputs = self._outputs(number, inputs.shape[0])
            if len(scans) == 2:
                last = self._both(number, inputs, batch_sizes, outputs)
            else:
                ((direction, scan),) = scans.items()
                last = scan.run(direction, inputs, batch_sizes, outputs)
            inputs = outputs
        return inputs, last

    def _both(self, number: int, inputs: Tensor, batch_sizes: Sequence[int], outputs: Tensor) -> Tensor:
        """Run both directions of a layer and merge them into `outputs`; returns the merged ends."""
        layer, scans = self.spec.layers[number], self.layers[number]
        width, rows = layer.step_size, inputs.shape[0]
        concat = layer.merge == "concat"
        forward_outputs = outputs[:, :width]
        reverse_outputs = (
            outputs[:, width:] if concat else self.workspace.take("outputs.reverse", rows, width)
        )
        forward = scans["forward"].run("forward", inputs, batch_sizes, forward_outputs)
        reverse = scans["reverse"].run("reverse", inputs, batch_sizes, reverse_outputs)
        if concat:
            return torch.cat([forward, reverse], dim=1)
        merge_into(layer.merge, forward_outputs, reverse_outputs)
        return merge_into(layer.merge, forward, reverse)

    def _outputs(self, number: int, rows: int) -> Tensor:
        return self.workspace.take(f"outputs.layer{number % 2}", rows, self.spec.layers[number].output_size)


def _cell_of(
    layer: LayerSpec,
    parameters: Mapping[str, Tensor],
    number: int,
    direction: Direction,
    workspace: Workspace,
    arithmetic: Arithmetic,
) -> Cell:
    kind, size = layer.kind(direction), layer.cell_size(direction)
    own = {name: parameters[recurrent_name(name, number, direction)] for name in kind.parameter_shapes(size)}
    return kind(size, own, workspace, arithmetic)


def _initial_of(
    layer: LayerSpec, cell: Cell, parameters: Mapping[str, Tensor], number: int, direction: Direction
) -> Sequence[Tensor] | None:
    if not layer.initial_state:
        return None
    return [
        parameters[recurrent_name(initial_name(part.name), number, direction)]
        for part in cell.parts(cell.size)
    ]
