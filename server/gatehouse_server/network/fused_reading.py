"""Reading with torch's fused kernels: many steps in one call, for devices where a call costs more than a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence

from torch import Tensor

from gatehouse_server.network.batch import Batch
from gatehouse_server.network.fused_layers import FusedLayers
from gatehouse_server.network.gathering import Rows
from gatehouse_server.network.layer_spec import Direction
from gatehouse_server.network.reading import Reader, Visit
from gatehouse_server.network.slicing import Slicing


class FusedReader(Reader):
    """Reads in slices: whole consecutive steps, with the state carried from one to the next.

    The kernels want batches that never grow, but from the end a batch grows as shorter sequences join. So for the
    reverse direction each sequence is turned around by itself: then all of them begin at once, each at its own last
    step, and the shorter ones end first as ever.
    """

    def __init__(
        self,
        layers: FusedLayers,
        poolings: Sequence[str],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`poolings` as in `NetworkSpec`, at least one."""
        super().__init__(layers.spec, poolings, layers.device)
        self._layers = layers
        # For each layer and direction its own: a layer's input may be much wider than another's.
        self._slicings = [
            {direction: Slicing(clock) for direction in layer.directions} for layer in layers.spec.layers
        ]

    def _read(
        self, number: int, inputs: Tensor, batch: Batch, visit: Visit, direction: Direction
    ) -> Generator[None, None, Tensor]:
        fused = self._layers.layer(number, direction)
        slicing = self._slicings[number][direction]
        state = fused.zeros(batch.sizes[0])
        first = first_row = 0
        while first < len(batch.sizes):
            end = first + slicing.begin(batch.sizes, first)
            sizes = batch.sizes[first:end]
            end_row = first_row + sum(sizes)
            rows: Rows = slice(first_row, end_row)
            if direction == "reverse":
                rows = batch.reversal[rows]
            x = self._layers.vectors(number, inputs[rows])
            visit(rows, fused.advance(x, batch.host_sizes[first:end], state), sizes)
            self._wait()
            slicing.end()
            first, first_row = end, end_row
            yield
        return state[0]
