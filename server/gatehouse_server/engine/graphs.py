"""What the graphs of a GPU need of it: to remember what a function did there and do it again in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

_WARM_UPS = 3
"""Calls before a capture: libraries set themselves up in the first ones, which a capture forbids."""


class Graphs(Protocol):
    """The port to a device that remembers what it did."""

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """Runs a function of no arguments, and returns what does the same to the same memory again, without Python.

        Whatever the function reads or writes has to stay alive as long as that.
        """
        ...

    def host_bytes(self, count: int) -> Tensor:
        """Memory of the host (count,) uint8 that the device copies from and to while the host goes on."""
        ...

    def wait(self) -> None:
        """Returns when all that was asked of the device is done."""
        ...


class CudaGraphs:
    """CUDA graphs that share one pool of memory: they run one after the other, never at the same time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._pool = torch.cuda.graph_pool_handle()
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch: no types

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """See `Graphs`."""
        with torch.cuda.device(self._device), _plain_scattering():
            current = torch.cuda.current_stream()
            # What runs before a capture has to run on another stream than the default one, as torch asks.
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UPS):
                    function()
            current.wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            # A model that is loaded while others serve is captured beside the engine's thread: what that does meanwhile
            # is no business of the capture.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                function()
        replay: Callable[[], None] = graph.replay
        return replay

    def host_bytes(self, count: int) -> Tensor:
        """See `Graphs`."""
        return torch.zeros(count, dtype=torch.uint8, pin_memory=True)

    def wait(self) -> None:
        """See `Graphs`."""
        torch.cuda.current_stream(self._device).synchronize()


@contextmanager
def _plain_scattering() -> Iterator[None]:
    """Without torch's deterministic algorithms, which sort what they scatter in a way that no graph may hold.

    They are not missed: no two rows of a tick are left in the same place, but for those that nobody reads.
    """
    asked = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(asked)
