"""Whole sequences, read a few steps at a time: what `Network.summarize` computes, in pieces of a millisecond.

Between two pieces the network may be used for something else: whatever outlives a piece is memory of the
reader's own. Outputs of the top layer are pooled, or handed out, as they come and not kept, so memory grows with the
packed rows only where a further layer, or a merge that needs both directions at once, has to read them.

How one direction of one layer is read is left to those who read: `stepped_reading` and `fused_reading`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor

from gatehouse_server.network.batch import Batch
from gatehouse_server.network.gathering import Gathering, Rows, Take
from gatehouse_server.network.layer_spec import Direction
from gatehouse_server.network.merging import merge_into
from gatehouse_server.network.running_pool import RunningPool
from gatehouse_server.network.spec import RecurrentSpec
from gatehouse_server.network.workspace import Workspace

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

    def summarize(self, inputs: Tensor, batch_sizes: Sequence[int]) -> Generator[None, None, Tensor]:
        """Packed token ids (N,) int64 or features (N, F) -> (B, R * poolings), yielding after every piece.

        To be driven in inference mode. A batch that is left unfinished may be dropped at any time. Raises ValueError
        for batch sizes that do not fit.
        """
        batch = Batch(batch_sizes, inputs.shape[0], self._device)
        top = len(self._spec.layers) - 1
        inputs = yield from self._read_below(top, inputs, batch)
        layer = self._spec.layers[top]
        if len(layer.directions) == 1 or layer.merge == "concat":
            pooled = yield from self._pool_apart(top, inputs, batch)
        else:
            pooled = yield from self._pool_merged(top, inputs, batch)
        return pooled

    def hand_out(
        self, inputs: Tensor, batch_sizes: Sequence[int], take: Take, *, rows_at_once: int
    ) -> Generator[None, None, Tensor]:
        """The top layer's outputs of every step, given to `take` as they come about; returns the ends (B, R): the
        forward output at the last step, the reverse output at the first, joined.

        Otherwise as `summarize`.
        """
        batch = Batch(batch_sizes, inputs.shape[0], self._device)
        top = len(self._spec.layers) - 1
        inputs = yield from self._read_below(top, inputs, batch)
        gathering = Gathering(take, rows_at_once, self._device)
        if len(self._spec.layers[top].directions) == 1:
            ends = yield from self._hand_out_one(top, inputs, batch, gathering)
        else:
            ends = yield from self._hand_out_both(top, inputs, batch, gathering)
        yield from gathering.give_rest()
        return ends

    def _read_below(self, top: int, inputs: Tensor, batch: Batch) -> Generator[None, None, Tensor]:
        """What the layer `top` reads."""
        for number in range(top):
            width = self._spec.layers[number].output_size
            outputs = self._scratch.take(f"layer{number % 2}", batch.rows, width)
            yield from self._fill(number, inputs, batch, outputs)
            inputs = outputs
        return inputs

    @abstractmethod
    def _read(
        self, number: int, inputs: Tensor, batch: Batch, visit: Visit, direction: Direction
    ) -> Generator[None, None, Tensor]:
        """One direction of one layer from the initial state; returns h (B, width) at its end.

        In reverse each sequence begins at its own last step.
        """

    def _fill(
        self, number: int, inputs: Tensor, batch: Batch, outputs: Tensor
    ) -> Generator[None, None, None]:
        """Outputs of every step, directions merged, into `outputs` (N, R)."""
        layer = self._spec.layers[number]
        width = layer.step_size

        def keep(rows: Rows, h: Tensor, sizes: Sequence[int]) -> None:
            outputs[rows, :width] = h

        def join(rows: Rows, h: Tensor, sizes: Sequence[int]) -> None:
            if layer.merge == "concat":
                outputs[rows, width:] = h
                return
            merged = merge_into(layer.merge, outputs[rows], h)
            if isinstance(rows, Tensor):  # of which `outputs[rows]` was a copy
                outputs[rows] = merged

        for direction, visit in zip(layer.directions, (keep, join), strict=False):
            yield from self._read(number, inputs, batch, visit, direction)

    def _pool_apart(self, number: int, inputs: Tensor, batch: Batch) -> Generator[None, None, Tensor]:
        """Each direction pooled by itself; nothing of the layer is kept."""
        layer = self._spec.layers[number]
        by_direction = []
        for direction in layer.directions:
            pool = RunningPool(self._poolings, batch.lengths, layer.step_size)

            def add(rows: Rows, h: Tensor, sizes: Sequence[int], pool: RunningPool = pool) -> None:
                pool.add(h, sizes)

            last = yield from self._read(number, inputs, batch, add, direction)
            by_direction.append(pool.result(last))
        return torch.cat([part for kind in zip(*by_direction, strict=True) for part in kind], dim=1)

    def _pool_merged(self, number: int, inputs: Tensor, batch: Batch) -> Generator[None, None, Tensor]:
        """Directions merged step by step, then pooled: the forward outputs wait for the reverse ones."""
        layer = self._spec.layers[number]
        outputs = self._scratch.take("top", batch.rows, layer.step_size)
        pool = RunningPool(self._poolings, batch.lengths, layer.step_size)

        def keep(rows: Rows, h: Tensor, sizes: Sequence[int]) -> None:
            outputs[rows] = h

        def join(rows: Rows, h: Tensor, sizes: Sequence[int]) -> None:
            pool.add(merge_into(layer.merge, outputs[rows], h), sizes)

        last = yield from self._read(number, inputs, batch, keep, "forward")
        first = yield from self._read(number, inputs, batch, join, "reverse")
        return torch.cat(pool.result(merge_into(layer.merge, last, first)), dim=1)

    def _hand_out_one(
        self, number: int, inputs: Tensor, batch: Batch, gathering: Gathering
    ) -> Generator[None, None, Tensor]:
        """The outputs of a layer of one direction; nothing of it is kept."""

        def give(rows: Rows, h: Tensor, sizes: Sequence[int]) -> None:
            gathering.add(rows, h.clone())

        (direction,) = self._spec.layers[number].directions
        return (yield from _between(self._read(number, inputs, batch, give, direction), gathering))

    def _hand_out_both(
        self, number: int, inputs: Tensor, batch: Batch, gathering: Gathering
    ) -> Generator[None, None, Tensor]:
        """Directions joined step by step: the forward outputs wait for the reverse ones."""
        layer = self._spec.layers[number]
        outputs = self._scratch.take("top", batch.rows, layer.step_size)

        def joined(forward: Tensor, reverse: Tensor) -> Tensor:
            if layer.merge == "concat":
                return torch.cat([forward, reverse], dim=1)
            return merge_into(layer.merge, forward.clone(), reverse)

        def keep(rows: Rows, h: Tensor, sizes: Sequence[int]) -> None:
            outputs[rows] = h

        def join(rows: Rows, h: Tensor, sizes: Sequence[int]) -> None:
            gathering.add(rows, joined(outputs[rows], h))

        last = yield from self._read(number, inputs, batch, keep, "forward")
        first = yield from _between(self._read(number, inputs, batch, join, "reverse"), gathering)
        return joined(last, first)

    def _wait(self) -> None:
        """Until the device has done what it was asked for: what is left to do would hold up whoever comes next."""
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()


def _between(reading: Generator[None, None, Tensor], gathering: Gathering) -> Generator[None, None, Tensor]:
    """Drives a reading, and gives on what it has gathered between two of its pieces; what the reading returns."""
    while True:
        try:
            next(reading)
        except StopIteration as finished:
            ends: Tensor = finished.value
            return ends
        yield from gathering.give()
        yield
