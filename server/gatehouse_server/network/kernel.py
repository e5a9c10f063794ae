"""Matrix products whose rows do not depend on the rest of the batch, to the bit.

A library's matrix product may choose another order of summation for another number of rows, so that a
sequence's result would depend on who else happens to be in the batch. Two ways to compute `x @ W.T + b` are
known here:

- `PackedKernel`: oneDNN with the weights reordered once. Fastest for all batch sizes; rows were independent
  for every shape tried (AVX-512 on AMD: 210 GFLOP/s a core against 100 of the plain product).
- `PlainKernel`: `torch.addmm` over weights stored (K, N) contiguous, with a least number of rows (fewer are
  padded) and sums over at most 512 terms at a time. `F.linear`'s layout fails for up to 8 rows.

Neither property is documented by the libraries, so on a CPU each kernel has to prove it for the weights at
hand before it is chosen. The proof holds for one intra-op thread, one build of torch and one processor model.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

# Longer sums are cut into blocks by the library, and how depends on the number of rows.
_LARGEST_PACKED_SUM = 1024
_LARGEST_PLAIN_SUM = 512
PROOF_ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 31, 33, 64, 129)
_PROOF_SHIFT = 5


class Kernel(Protocol):
    """One way to multiply by a fixed weight matrix (N, K)."""

    def product(self, x: Tensor) -> Tensor:
        """x (M, K) -> x W^T + b (M, N), a tensor of its own."""
        ...

    def add_to(self, x: Tensor, base: Tensor) -> Tensor:
        """base (M, N) + x W^T, without the bias. `base` may be overwritten, and may be what is returned."""
        ...


class PackedKernel:
    """oneDNN, weights reordered into its blocked layout: the operator that torch's own compiler emits."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._parts: list[tuple[slice, Tensor]] = [
            (columns, torch.ops.mkldnn._reorder_linear_weight(weight[:, columns].contiguous()))
            for columns in _terms(weight.shape[1], _LARGEST_PACKED_SUM)
        ]
        self._first = self._parts[0][1]
        self._bias = bias
        # Resolved once: every attribute access through torch.ops costs a fraction of a microsecond per step.
        self._linear: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise.default
        self._linear_add: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise.binary

    def product(self, x: Tensor) -> Tensor:
        if len(self._parts) == 1:
            return self._linear(x, self._first, self._bias, "none", [], "")
        first = self._linear(x[:, self._parts[0][0]], self._first, self._bias, "none", [], "")
        return self._add_parts(x, first, self._parts[1:])

    def add_to(self, x: Tensor, base: Tensor) -> Tensor:
        if len(self._parts) == 1:
            return self._linear_add(x, base, self._first, None, "add")
        return self._add_parts(x, base, self._parts)

    def _add_parts(self, x: Tensor, base: Tensor, parts: list[tuple[slice, Tensor]]) -> Tensor:
        for columns, weight in parts:
            base = self._linear_add(x[:, columns], base, weight, None, "add")
        return base


class PlainKernel:
    """`addmm` over (K, N) weights, never with fewer than `least_rows` rows and two columns, any device.

    With `tile_rows` every product has exactly that many rows: slower, but one shape only.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, *, least_rows: int = 1, tile_rows: int | None = None
    ) -> None:
        self._columns = weight.shape[0]
        if self._columns == 1 and least_rows > 1:  # a single column goes another way through the library
            weight = torch.cat([weight, torch.zeros_like(weight)])
            bias = None if bias is None else torch.cat([bias, torch.zeros_like(bias)])
        largest_sum = _LARGEST_PLAIN_SUM if weight.device.type == "cpu" else weight.shape[1]
        self._parts = [
            (columns, weight[:, columns].t().contiguous()) for columns in _terms(weight.shape[1], largest_sum)
        ]
        self._bias = torch.zeros_like(weight[:, 0]) if bias is None else bias
        self._least_rows = least_rows
        self._tile_rows = tile_rows

    def product(self, x: Tensor) -> Tensor:
        base = self._bias.repeat(x.shape[0], 1)
        return self._accumulate(x, base)[:, : self._columns]

    def add_to(self, x: Tensor, base: Tensor) -> Tensor:
        if base.shape[1] == self._bias.shape[0]:
            return self._accumulate(x, base)
        return self._accumulate(x, torch.nn.functional.pad(base, (0, 1)))[:, :1]

    def _accumulate(self, x: Tensor, base: Tensor) -> Tensor:
        if self._tile_rows is not None:
            for start in range(0, x.shape[0], self._tile_rows):
                tile = slice(start, start + self._tile_rows)
                self._accumulate_padded(x[tile], base[tile], self._tile_rows)
        elif x.shape[0] < self._least_rows:
            self._accumulate_padded(x, base, self._least_rows)
        else:
            self._multiply(x, base)
        return base

    def _accumulate_padded(self, x: Tensor, base: Tensor, rows: int) -> None:
        missing = (0, 0, 0, rows - x.shape[0])
        padded = torch.nn.functional.pad(base, missing)
        self._multiply(torch.nn.functional.pad(x, missing), padded)
        base.copy_(padded[: base.shape[0]])

    def _multiply(self, x: Tensor, base: Tensor) -> None:
        for columns, weight in self._parts:
            base.addmm_(x[:, columns], weight)


def _terms(count: int, largest_sum: int) -> list[slice]:
    """Cut `count` terms of a sum into runs of at most `largest_sum`."""
    return [slice(start, min(start + largest_sum, count)) for start in range(0, count, largest_sum)]


def choose_kernel(weight: Tensor, bias: Tensor | None) -> tuple[Kernel, bool]:
    """The fastest kernel for `weight` (N, K) that proves itself, and whether one did.

    Off the CPU none is asked to. The last resort multiplies in tiles of a fixed number of rows, proved or
    not.
    """
    if weight.device.type != "cpu":
        return PlainKernel(weight, bias), False
    for kernel in _candidates(weight, bias):
        if is_row_independent(kernel, weight.shape[0], weight.shape[1]):
            return kernel, True
    return PlainKernel(weight, bias, least_rows=2, tile_rows=16), False


def _candidates(weight: Tensor, bias: Tensor | None) -> Iterator[Kernel]:
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch: no types
    if available and hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        yield PackedKernel(weight, bias)
    for least_rows in (2, 4, 8, 16):
        yield PlainKernel(weight, bias, least_rows=least_rows)
    yield PlainKernel(weight, bias, least_rows=2, tile_rows=16)


def is_row_independent(kernel: Kernel, outputs: int, inputs: int) -> bool:
    """Whether a row's bits are the same for many batch sizes and at another place in the batch."""
    generator = torch.Generator().manual_seed(0)
    most = max(PROOF_ROWS)
    x = torch.randn(most + _PROOF_SHIFT, inputs, generator=generator)
    base = torch.randn(most + _PROOF_SHIFT, outputs, generator=generator)
    product, added = kernel.product(x), kernel.add_to(x, base.clone())
    for rows in PROOF_ROWS:
        for start in (0, _PROOF_SHIFT):
            part = slice(start, start + rows)
            if not torch.equal(kernel.product(x[part]), product[part]):
                return False
            if not torch.equal(kernel.add_to(x[part], base[part].clone()), added[part]):
                return False
    return True
