"""Whole sequences, read a few steps at a time: what `Network.summarize` computes, in pieces of a millisecond.

Between two pieces the network may be used for something else: whatever outlives a piece is memory of the
reader's own. Outputs of the top layer are pooled as they come and not kept, so memory grows with the packed
rows only where a further layer, or a merge that needs both directions at once, has to read them.
"""

from collections.abc import Callable, Generator, Iterator, Sequence

import torch
from torch import Tensor

from gatehouse_server.network.packing import check_batch_sizes, lengths_of, steps_of
from gatehouse_server.network.running_pool import RunningPool
from gatehouse_server.network.scan import Scan
from gatehouse_server.network.stack import Stack
from gatehouse_server.network.workspace import Workspace

_PIECE_ROWS = 32  # a piece is a few whole steps: of many rows one, of a single row not so many that they ...
_PIECE_STEPS = 4  # ... take long where the weights do not fit a cache
_PRODUCT_OPERATIONS = 2e8  # input products are computed for as many rows at once as take about a millisecond
_MOST_PRODUCT_ROWS = 512

Steps = list[tuple[int, int]]
"""First packed row and number of rows of consecutive steps."""
Visit = Callable[[int, Tensor], None]
"""Takes the first packed row of a step, and the step's output h (n, width), valid until it returns."""


class Reader:
    """Reads one batch of sequences at a time, by the thread that uses the network."""

    def __init__(self, stack: Stack, poolings: Sequence[str]) -> None:
        """`poolings` as in `NetworkSpec`."""
        self._layers = stack.layers
        self._spec = stack.spec
        self._poolings = tuple(poolings)
        self._device = self._layers[0][0].cell.minus_one.device
        self._scratch = Workspace(self._device)

    def summarize(self, inputs: Tensor, batch_sizes: Sequence[int]) -> Generator[None, None, Tensor]:
        """Packed token ids (N,) int64 or features (N, F) -> (B, R * poolings), yielding after every piece.

        To be driven in inference mode. A batch that is left unfinished may be dropped at any time.
        """
        check_batch_sizes(batch_sizes, inputs.shape[0])
        steps = list(steps_of(batch_sizes))
        for layer, scans in enumerate(self._layers[:-1]):
            outputs = self._scratch.take(f"layer{layer % 2}", inputs.shape[0], self._spec.output_size)
            yield from self._fill(scans, inputs, steps, outputs)
            inputs = outputs
        top = self._layers[-1]
        if len(top) == 1 or self._spec.merge == "concat":
            pooled = yield from self._pool_apart(top, inputs, steps)
        else:
            pooled = yield from self._pool_merged(top, inputs, steps)
        return pooled

    def _fill(
        self, scans: tuple[Scan, ...], inputs: Tensor, steps: Steps, outputs: Tensor
    ) -> Generator[None, None, None]:
        """Outputs of every step, directions merged, into `outputs` (N, R)."""
        width = scans[0].cell.size.output_size

        def keep(start: int, h: Tensor) -> None:
            outputs[start : start + h.shape[0], :width].copy_(h)

        def join(start: int, h: Tensor) -> None:
            step = outputs[start : start + h.shape[0]]
            if self._spec.merge == "concat":
                step[:, width:].copy_(h)
            else:
                self._merge(step, h)

        yield from self._read(scans[0], inputs, steps, keep, reverse=False)
        if len(scans) == 2:
            yield from self._read(scans[1], inputs, steps, join, reverse=True)

    def _pool_apart(
        self, scans: tuple[Scan, ...], inputs: Tensor, steps: Steps
    ) -> Generator[None, None, Tensor]:
        """Each direction pooled by itself; nothing of the top layer is kept."""
        by_direction = []
        for scan, reverse in zip(scans, (False, True), strict=False):
            pool = self._pool_of(steps, scan.cell.size.output_size)
            last = yield from self._read(scan, inputs, steps, pool.add, reverse=reverse)
            by_direction.append(pool.result(last))
        return torch.cat([part for kind in zip(*by_direction, strict=True) for part in kind], dim=1)

    def _pool_merged(
        self, scans: tuple[Scan, ...], inputs: Tensor, steps: Steps
    ) -> Generator[None, None, Tensor]:
        """Directions merged step by step, then pooled: the forward outputs wait for the reverse ones."""
        width = scans[0].cell.size.output_size
        outputs = self._scratch.take("top", inputs.shape[0], width)
        pool = self._pool_of(steps, width)

        def keep(start: int, h: Tensor) -> None:
            outputs[start : start + h.shape[0]].copy_(h)

        def join(start: int, h: Tensor) -> None:
            pool.add(start, self._merge(outputs[start : start + h.shape[0]], h))

        last = yield from self._read(scans[0], inputs, steps, keep, reverse=False)
        first = yield from self._read(scans[1], inputs, steps, join, reverse=True)
        return torch.cat(pool.result(self._merge(last, first)), dim=1)

    def _read(
        self, scan: Scan, inputs: Tensor, steps: Steps, visit: Visit, *, reverse: bool
    ) -> Generator[None, None, Tensor]:
        """One direction of one layer from the zero state; returns h (B, width) at its end."""
        parts = tuple(
            torch.zeros(steps[0][1], part.width, device=self._device)
            for part in scan.cell.parts(scan.cell.size)
        )
        active = parts
        order = reversed if reverse else iter
        for block in order(list(_split(steps, rows=self._product_rows(scan)))):
            first_row = block[0][0]
            # A folded product is a copy: made piece by piece, it is still in the cache when it is used. It
            # lies in memory that belongs to the network, so it must not outlive a piece.
            product = None if scan.folded else scan.product(inputs[_rows_of(block)])
            if product is not None:
                yield
            for piece in order(list(_split(block, rows=_PIECE_ROWS, steps=_PIECE_STEPS))):
                if scan.folded:
                    first_row = piece[0][0]
                    product = scan.product(inputs[_rows_of(piece)])
                assert product is not None
                for start, rows in order(piece):
                    if active[0].shape[0] != rows:
                        active = tuple(part[:rows] for part in parts)
                    scan.advance(product[start - first_row : start - first_row + rows], active)
                    visit(start, active[0])
                yield
        return parts[0]

    def _product_rows(self, scan: Scan) -> int:
        operations = 2.0 * scan.cell.size.input_size * scan.cell.product_width
        return int(min(max(_PRODUCT_OPERATIONS / operations, _PIECE_ROWS), _MOST_PRODUCT_ROWS))

    def _pool_of(self, steps: Steps, width: int) -> RunningPool:
        lengths = lengths_of([rows for _, rows in steps])
        return RunningPool(self._poolings, lengths, width, self._device)

    def _merge(self, forward: Tensor, reverse: Tensor) -> Tensor:
        """Merge `reverse` into `forward`, in place."""
        if self._spec.merge == "multiply":
            return forward.mul_(reverse)
        forward.add_(reverse)
        return forward.mul_(0.5) if self._spec.merge == "average" else forward


def _rows_of(steps: Steps) -> slice:
    return slice(steps[0][0], steps[-1][0] + steps[-1][1])


def _split(whole: Steps, *, rows: int, steps: int | None = None) -> Iterator[Steps]:
    """Consecutive steps in groups that end as soon as they have `rows` rows or `steps` steps."""
    group: Steps = []
    for start, count in whole:
        group.append((start, count))
        if start + count - group[0][0] >= rows or len(group) == steps:
            yield group
            group = []
    if group:
        yield group
