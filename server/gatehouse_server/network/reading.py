"""Whole sequences, read a few steps at a time: what `Network.summarize` computes, in pieces of a millisecond.

Between two pieces the network may be used for something else: whatever outlives a piece is memory of the
reader's own. Outputs of the top layer are pooled as they come and not kept, so memory grows with the packed
rows only where a further layer, or a merge that needs both directions at once, has to read them.

How one direction of one layer is read is left to those who read: `stepped_reading` and `fused_reading`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor

from gatehouse_server.network.batch import Batch
from gatehouse_server.network.running_pool import RunningPool
from gatehouse_server.network.spec import RecurrentSpec
from gatehouse_server.network.workspace import Workspace

Rows = slice | Tensor
"""Of a packed batch: consecutive ones, or (n,) int64 in any order."""
Visit = Callable[[Rows, Tensor, Sequence[int]], None]
"""Takes outputs h (n, width) of some steps, valid until it returns: the packed rows that they belong to, h itself, and
how many rows each step has. A step's rows are those of the longest sequences.
"""


class Reader(ABC):
    """Reads one batch of sequences at a time, by the thread that uses the network."""

    def __init__(self, spec: RecurrentSpec, poolings: Sequence[str], device: torch.device) -> None:
        """`poolings` as in `NetworkSpec`, at least one."""
        self._spec = spec
        self._poolings = tuple(poolings)
        self._device = device
        self._scratch = Workspace(device)
        self._width = spec.projection_size or spec.hidden_size

    def summarize(self, inputs: Tensor, batch_sizes: Sequence[int]) -> Generator[None, None, Tensor]:
        """Packed token ids (N,) int64 or features (N, F) -> (B, R * poolings), yielding after every piece.

        To be driven in inference mode. A batch that is left unfinished may be dropped at any time. Raises ValueError
        for batch sizes that do not fit.
        """
        batch = Batch(batch_sizes, inputs.shape[0], self._device)
        top = self._spec.layers - 1
        for layer in range(top):
            outputs = self._scratch.take(f"layer{layer % 2}", batch.rows, self._spec.output_size)
            yield from self._fill(layer, inputs, batch, outputs)
            inputs = outputs
        if not self._spec.bidirectional or self._spec.merge == "concat":
            pooled = yield from self._pool_apart(top, inputs, batch)
        else:
            pooled = yield from self._pool_merged(top, inputs, batch)
        return pooled

    @abstractmethod
    def _read(
        self, layer: int, inputs: Tensor, batch: Batch, visit: Visit, *, reverse: bool
    ) -> Generator[None, None, Tensor]:
        """One direction of one layer from the zero state; returns h (B, width) at its end.

        In reverse each sequence begins at its own last step.
        """

    def _fill(self, layer: int, inputs: Tensor, batch: Batch, outputs: Tensor) -> Generator[None, None, None]:
        """Outputs of every step, directions merged, into `outputs` (N, R)."""
        width = self._width

        def keep(rows: Rows, h: Tensor, sizes: Sequence[int]) -> None:
            outputs[rows, :width] = h

        def join(rows: Rows, h: Tensor, sizes: Sequence[int]) -> None:
            if self._spec.merge == "concat":
                outputs[rows, width:] = h
                return
            merged = self._merge(outputs[rows], h)
            if isinstance(rows, Tensor):  # of which `outputs[rows]` was a copy
                outputs[rows] = merged

        yield from self._read(layer, inputs, batch, keep, reverse=False)
        if self._spec.bidirectional:
            yield from self._read(layer, inputs, batch, join, reverse=True)

    def _pool_apart(self, layer: int, inputs: Tensor, batch: Batch) -> Generator[None, None, Tensor]:
        """Each direction pooled by itself; nothing of the layer is kept."""
        by_direction = []
        for reverse in (False, True)[: self._spec.directions]:
            pool = RunningPool(self._poolings, batch.lengths, self._width)

            def add(rows: Rows, h: Tensor, sizes: Sequence[int], pool: RunningPool = pool) -> None:
                pool.add(h, sizes)

            last = yield from self._read(layer, inputs, batch, add, reverse=reverse)
            by_direction.append(pool.result(last))
        return torch.cat([part for kind in zip(*by_direction, strict=True) for part in kind], dim=1)

    def _pool_merged(self, layer: int, inputs: Tensor, batch: Batch) -> Generator[None, None, Tensor]:
        """Directions merged step by step, then pooled: the forward outputs wait for the reverse ones."""
        outputs = self._scratch.take("top", batch.rows, self._width)
        pool = RunningPool(self._poolings, batch.lengths, self._width)

        def keep(rows: Rows, h: Tensor, sizes: Sequence[int]) -> None:
            outputs[rows] = h

        def join(rows: Rows, h: Tensor, sizes: Sequence[int]) -> None:
            pool.add(self._merge(outputs[rows], h), sizes)

        last = yield from self._read(layer, inputs, batch, keep, reverse=False)
        first = yield from self._read(layer, inputs, batch, join, reverse=True)
        return torch.cat(pool.result(self._merge(last, first)), dim=1)

    def _wait(self) -> None:
        """Until the device has done what it was asked for: what is left to do would hold up whoever comes next."""
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()

    def _merge(self, forward: Tensor, reverse: Tensor) -> Tensor:
        """Merge `reverse` into `forward`, in place."""
        if self._spec.merge == "multiply":
            return forward.mul_(reverse)
        forward.add_(reverse)
        return forward.mul_(0.5) if self._spec.merge == "average" else forward
