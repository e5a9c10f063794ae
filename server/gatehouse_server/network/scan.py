"""One direction of one layer over packed sequences: the serial part of a recurrent network."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from gatehouse_server.network.cell import Cell
from gatehouse_server.network.layer_spec import Direction
from gatehouse_server.network.packing import steps_of
from gatehouse_server.network.recording import NotRecordableError, record
from gatehouse_server.network.workspace import Workspace

_BLOCK_ROWS = (
    512  # input products are computed for about this many rows at once: few calls, yet cached when used
)
_TILE_ROWS = 128  # a step of more rows is advanced in tiles, so that its gates stay in the cache


_EXAMPLE_ROWS = 3
_PROOF_ROWS = (1, 2, 33, _TILE_ROWS)

InputProduct = Callable[[Tensor], Tensor]
"""Makes gate products (N, G) of a layer's input, token ids (N,) or vectors (N, F)."""


class FoldedTable:
    """Input products of all tokens, computed once: a product is then the copy of a row."""

    def __init__(self, cell: Cell, embedding: Tensor, workspace: Workspace) -> None:
        self._table = cell.input_product(embedding)
        self._workspace = workspace
        self._width = int(self._table.shape[1])
        self.bytes = self._table.nbytes

    def __call__(self, inputs: Tensor) -> Tensor:
        out = self._workspace.take("folded", inputs.shape[0], self._width)
        return torch.index_select(self._table, 0, inputs, out=out)


class EmbeddedProduct:
    """Input products of tokens whose table would be too large to keep."""

    def __init__(self, cell: Cell, embedding: Tensor, workspace: Workspace) -> None:
        self._cell = cell
        self._embedding = embedding
        self._width = int(embedding.shape[1])
        self._workspace = workspace

    def __call__(self, inputs: Tensor) -> Tensor:
        out = self._workspace.take("embedded", inputs.shape[0], self._width)
        return self._cell.input_product(torch.index_select(self._embedding, 0, inputs, out=out))


class Scan:
    """A cell applied step after step.

    `product` makes the gate products of inputs. If the input is `folded` they are copies of table rows, in
    scratch memory that is valid until the next call; otherwise tensors of their own.
    """

    def __init__(self, cell: Cell, product: InputProduct, initial: Sequence[Tensor] | None = None) -> None:
        """`initial`: what each part of the state is before the first step, (width,) each; None: zeros."""
        self.cell = cell
        self.product = product
        self.parts = cell.parts(cell.size)
        self._initial = initial
        self.folded = isinstance(product, FoldedTable)
        # A GPU has no use for tiles: it is the faster the more rows there are.
        self._tile_rows = _TILE_ROWS if cell.device.type == "cpu" else None
        self._advance_tile: Callable[..., object] = self._advance_as_written

    def record(self) -> None:
        """From now on a step of a tile is one call into torch, with the same bits. CPU only.

        Raises NotRecordableError, and leaves everything as it was, where that cannot be done.
        """
        device, workspace = self.cell.device, self.cell.workspace
        generator = torch.Generator().manual_seed(0)

        def draw(rows: int) -> list[Tensor]:
            widths = [self.cell.product_width, *(part.width for part in self.parts)]
            return [torch.rand(rows, width, generator=generator, device=device) - 0.5 for width in widths]

        with torch.inference_mode(), workspace.apart(_TILE_ROWS):
            recorded = record(self._advance_as_written, draw(_EXAMPLE_ROWS))
            for rows in _PROOF_ROWS:
                drawn = draw(rows)
                expected, actual = [tensor.clone() for tensor in drawn], drawn
                self._advance_as_written(*expected)
                recorded(*actual)
                if not all(map(torch.equal, actual[1:], expected[1:])):
                    raise NotRecordableError(f"the recording of a cell gives other bits for {rows} rows")
        self._advance_tile = recorded

    def initial(self, rows: int) -> tuple[Tensor, ...]:
        """The state before the first step: its parts (rows, width), contiguous and free to be changed."""
        if self._initial is not None:
            return tuple(part.float().repeat(rows, 1) for part in self._initial)
        return tuple(torch.zeros(rows, part.width, device=self.cell.device) for part in self.parts)

    def run(
        self, direction: Direction, inputs: Tensor, batch_sizes: Sequence[int], outputs: Tensor
    ) -> Tensor:
        """Whole sequences from the initial state; returns h (B, R) after what the direction reads last."""
        parts = self.initial(batch_sizes[0])
        (self.forward if direction == "forward" else self.reverse)(inputs, batch_sizes, parts, outputs)
        return parts[0]

    def single(self, inputs: Tensor, parts: tuple[Tensor, ...]) -> None:
        """One step of all rows: inputs (n,) or (n, F), parts (n, width), updated in place."""
        self.advance(self.product(inputs), parts)

    def forward(
        self, inputs: Tensor, batch_sizes: Sequence[int], parts: tuple[Tensor, ...], outputs: Tensor
    ) -> None:
        """From the first step to the last. `parts` is updated in place; a row stops at its last step.

        outputs (N, R), any row stride, receives h of every step.
        """
        for block, steps in _blocks(list(steps_of(batch_sizes))):
            product = self.product(inputs[block])
            for start, rows in steps:
                self._step(product, start - block.start, rows, parts, outputs[start : start + rows])

    def reverse(
        self, inputs: Tensor, batch_sizes: Sequence[int], parts: tuple[Tensor, ...], outputs: Tensor
    ) -> None:
        """From each sequence's own last step to its first: the rows grow as shorter sequences join."""
        for block, steps in reversed(list(_blocks(list(steps_of(batch_sizes))))):
            product = self.product(inputs[block])
            for start, rows in reversed(steps):
                self._step(product, start - block.start, rows, parts, outputs[start : start + rows])

    def _step(
        self, product: Tensor, offset: int, rows: int, parts: tuple[Tensor, ...], output: Tensor
    ) -> None:
        active = parts if rows == parts[0].shape[0] else tuple(part[:rows] for part in parts)
        self.advance(product[offset : offset + rows], active)
        output.copy_(active[0])

    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        """One step of all rows, given the gate product (n, G) of its input; both are changed in place."""
        rows = product.shape[0]
        if self._tile_rows is None or rows <= self._tile_rows:
            self._advance_tile(product, *parts)
            return
        for start in range(0, rows, self._tile_rows):
            tile = slice(start, start + self._tile_rows)
            self._advance_tile(product[tile], *(part[tile] for part in parts))

    def _advance_as_written(self, product: Tensor, *parts: Tensor) -> Tensor:
        self.cell.advance(product, parts)
        return parts[0]


def _blocks(steps: list[tuple[int, int]]) -> Iterator[tuple[slice, list[tuple[int, int]]]]:
    """Whole consecutive steps, about _BLOCK_ROWS rows together: their packed rows, and the steps."""
    block: list[tuple[int, int]] = []
    for start, rows in steps:
        block.append((start, rows))
        if start + rows - block[0][0] >= _BLOCK_ROWS:
            yield slice(block[0][0], start + rows), block
            block = []
    if block:
        yield slice(block[0][0], block[-1][0] + block[-1][1]), block
