"""Layers on top of each other, in one direction or two."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic
from gatehouse_server.network.cell import Cell
from gatehouse_server.network.registry import CELLS
from gatehouse_server.network.scan import EmbeddedProduct, FoldedTable, InputProduct, Scan
from gatehouse_server.network.spec import NetworkSpec, RecurrentSpec, TokenInputSpec, recurrent_name
from gatehouse_server.network.state import State, StateLayout, StatePart
from gatehouse_server.network.workspace import Workspace

_FLOAT_BYTES = 4


class Stack:
    """All recurrent layers of a network, the input included.

    `layers` holds for each layer its scans: forward, and reverse if there are two directions.
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
        cells = [
            [
                _cell_of(spec.recurrent, parameters, layer, direction, workspace, arithmetic)
                for direction in range(self.spec.directions)
            ]
            for layer in range(self.spec.layers)
        ]
        products: list[list[InputProduct]] = [[cell.input_product for cell in pair] for pair in cells]
        if isinstance(spec.input, TokenInputSpec):
            products[0] = self._token_products(cells[0], parameters["embedding.weight"], fold_limit_bytes)
        self.layers = [
            tuple(Scan(cell, product) for cell, product in zip(pair, row, strict=True))
            for pair, row in zip(cells, products, strict=True)
        ]
        self._dense = [dense for pair in cells for cell in pair for dense in cell.dense_layers]
        self._parts = [CELLS[self.spec.cell].parts(self.spec.cell_size(layer)) for layer in range(len(cells))]

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
        """The state between steps. Raises ValueError for a bidirectional stack."""
        if self.spec.bidirectional:
            raise ValueError("a bidirectional network has no state between steps: it reads whole sequences")
        parts = tuple(
            StatePart(name=f"layer{layer}.{part.name}", width=part.width)
            for layer, row in enumerate(self._parts)
            for part in row
        )
        return StateLayout(parts=parts, output_part=len(parts) - len(self._parts[-1]))

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
            for scan in scans:
                scan.record()

    def scan(self, inputs: Tensor, batch_sizes: Sequence[int], state: State) -> Tensor:
        """One direction over packed inputs; `state`, in the order of `layout`, is updated in place."""
        first = 0
        for layer, ((scan,), row) in enumerate(zip(self.layers, self._parts, strict=True)):
            parts = state[first : first + len(row)]
            if batch_sizes[0] != parts[0].shape[0]:
                parts = tuple(part[: batch_sizes[0]] for part in parts)
            first += len(row)
            if len(batch_sizes) == 1:
                scan.single(inputs, parts)
                inputs = parts[0]
            else:
                outputs = self._outputs(f"layer{layer % 2}", inputs.shape[0])
                scan.forward(inputs, batch_sizes, parts, outputs)
                inputs = outputs
        return inputs

    def step(self, inputs: Tensor, state: State) -> Tensor:
        """One step of every row, in place, unchecked and the same way for any number of rows: it may be recorded."""
        first = 0
        for (scan,), row in zip(self.layers, self._parts, strict=True):
            parts = state[first : first + len(row)]
            first += len(row)
            scan.cell.advance(scan.product(inputs), parts)
            inputs = parts[0]
        return inputs

    def encode(self, inputs: Tensor, batch_sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Whole sequences from the zero state: outputs packed (N, R), and each sequence's end (B, R).

        The end is the forward output at the last step and the reverse output at the first, merged.
        """
        last = inputs
        for layer, scans in enumerate(self.layers):
            outputs = self._outputs(f"layer{layer % 2}", inputs.shape[0])
            if len(scans) == 1:
                parts = self._zeros(layer, batch_sizes[0])
                scans[0].forward(inputs, batch_sizes, parts, outputs)
                last = parts[0]
            else:
                last = self._both(layer, inputs, batch_sizes, outputs)
            inputs = outputs
        return inputs, last

    def _both(self, layer: int, inputs: Tensor, batch_sizes: Sequence[int], outputs: Tensor) -> Tensor:
        """Run both directions of a layer and merge them into `outputs`; returns the merged ends."""
        concat = self.spec.merge == "concat"
        width = self._parts[layer][0].width
        forward_outputs = outputs[:, :width]
        reverse_outputs = outputs[:, width:] if concat else self._outputs("reverse", inputs.shape[0])
        forward, reverse = self.layers[layer]
        forward_parts = self._zeros(layer, batch_sizes[0])
        forward.forward(inputs, batch_sizes, forward_parts, forward_outputs)
        reverse_parts = self._zeros(layer, batch_sizes[0])
        reverse.reverse(inputs, batch_sizes, reverse_parts, reverse_outputs)
        if concat:
            return torch.cat([forward_parts[0], reverse_parts[0]], dim=1)
        self._merge(forward_outputs, reverse_outputs)
        return self._merge(forward_parts[0], reverse_parts[0])

    def _merge(self, forward: Tensor, reverse: Tensor) -> Tensor:
        """Merge `reverse` into `forward`, in place."""
        if self.spec.merge == "multiply":
            return forward.mul_(reverse)
        forward.add_(reverse)
        return forward.mul_(0.5) if self.spec.merge == "average" else forward

    def _outputs(self, name: str, rows: int) -> Tensor:
        return self.workspace.take(f"outputs.{name}", rows, self.spec.output_size)

    def _zeros(self, layer: int, rows: int) -> tuple[Tensor, ...]:
        device = self.layers[layer][0].cell.minus_one.device
        return tuple(torch.zeros(rows, part.width, device=device) for part in self._parts[layer])


def _cell_of(
    spec: RecurrentSpec,
    parameters: Mapping[str, Tensor],
    layer: int,
    direction: int,
    workspace: Workspace,
    arithmetic: Arithmetic,
) -> Cell:
    kind = CELLS[spec.cell]
    size = spec.cell_size(layer)
    own = {name: parameters[recurrent_name(name, layer, direction)] for name in kind.parameter_shapes(size)}
    return kind(size, own, workspace, arithmetic)
