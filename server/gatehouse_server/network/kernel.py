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

Where no kernel proves it, and on a GPU, where the fast ones are known to fail, a third way remains for those
who ask for it: `TiledKernel`, every product computed with the same number of rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Optional, Protocol

import torch
from torch import Tensor

from gatehouse_server.network.recording import is_recording, with_its_loops
from gatehouse_server.network.row_counts import computed_rows

# Longer sums are cut into blocks by the library, and how depends on the number of rows.
_LARGEST_PACKED_SUM = 1024
_LARGEST_PLAIN_SUM = 512
PROOF_ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 31, 33, 64, 129)
_PROOF_SHIFT = 5
_TILE_ROWS_OF_CPU = 16
TILE_ROWS_OF_GPU = 256
"""On a GPU a product of 256 rows takes hardly longer than one of a single row."""


class Kernel(Protocol):
    """One way to multiply by a fixed weight matrix (N, K)."""

    def product(self, x: Tensor) -> Tensor:
        """x (M, K) -> x W^T + b (M, N), a tensor of its own."""
        ...

    def add_to(self, x: Tensor, base: Tensor) -> Tensor:
        """base (M, N) + x W^T, without the bias. `base` may be overwritten, and may be what is returned."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A kernel, whether its rows proved to be independent, and the bytes that it keeps."""

    kernel: Kernel
    reproducible: bool
    bytes: int


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

    def product(self, x: Tensor) -> Tensor:
        return with_few_row_counts(self._product, x)

    def _product(self, x: Tensor) -> Tensor:
        if len(self._parts) == 1:
            return self._multiply(x)
        first = self._multiply(x[:, self._parts[0][0]])
        return self._add_parts(x, first, self._parts[1:])

    def add_to(self, x: Tensor, base: Tensor) -> Tensor:
        if len(self._parts) == 1:
            return _linear_add(x, base, self._first)
        return self._add_parts(x, base, self._parts)

    def _multiply(self, x: Tensor) -> Tensor:
        if is_recording():
            return _linear(x, self._first, self._bias)
        return self._linear(x, self._first, self._bias, "none", [], "")

    def _add_parts(self, x: Tensor, base: Tensor, parts: list[tuple[slice, Tensor]]) -> Tensor:
        for columns, weight in parts:
            base = _linear_add(x[:, columns], base, weight)
        return base


# Steps of documents, which are recorded, have any number of rows: as `with_few_row_counts`. How many is known when they
# run. Besides, the recorder does not take an empty list.
@with_its_loops
def _linear(x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:  # noqa: UP045 - the compiler's syntax
    missing = computed_rows(x.size(0)) - x.size(0)
    if missing == 0:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]
    padded = torch.constant_pad_nd(x, [0, 0, 0, missing])
    product: Tensor = torch.ops.mkldnn._linear_pointwise(padded, weight, bias, "none", [], "")
    return product[: x.size(0)]


@with_its_loops
def _linear_add(x: Tensor, base: Tensor, weight: Tensor) -> Tensor:
    missing = computed_rows(x.size(0)) - x.size(0)
    if missing == 0:
        return torch.ops.mkldnn._linear_pointwise(x, base, weight, None, "add")  # type: ignore[no-any-return]
    padded = torch.constant_pad_nd(x, [0, 0, 0, missing])
    product: Tensor = torch.ops.mkldnn._linear_pointwise(padded, weight, None, "none", [], "")
    return base.add_(product[: x.size(0)])


class PlainKernel:
    """`addmm` over (K, N) weights, never with fewer than `least_rows` rows and two columns, any device."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, least_rows: int = 1) -> None:
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

    def product(self, x: Tensor) -> Tensor:
        rows = x.shape[0]
        if rows < self._least_rows:
            return self.product(_padded(x, self._least_rows))[:rows]
        columns, weight = self._parts[0]
        base = torch.addmm(self._bias, x[:, columns], weight)
        for columns, weight in self._parts[1:]:
            base.addmm_(x[:, columns], weight)
        return base[:, : self._columns]

    def add_to(self, x: Tensor, base: Tensor) -> Tensor:
        rows, width = base.shape
        if rows < self._least_rows or width != len(self._bias):
            more = (0, len(self._bias) - width, 0, max(0, self._least_rows - rows))
            padded = torch.nn.functional.pad(base, more)
            self._add_parts(_padded(x, padded.shape[0]), padded)
            return base.copy_(padded[:rows, :width])
        self._add_parts(x, base)
        return base

    def _add_parts(self, x: Tensor, base: Tensor) -> None:
        for columns, weight in self._parts:
            base.addmm_(x[:, columns], weight)


class TiledKernel:
    """Another kernel with `rows` rows in each product, padded: slower, but one shape only."""

    def __init__(self, kernel: Kernel, rows: int) -> None:
        self._kernel = kernel
        self._rows = rows

    def product(self, x: Tensor) -> Tensor:
        tiles = [self._kernel.product(_padded(tile, self._rows)) for tile in torch.split(x, self._rows)]
        return (tiles[0] if len(tiles) == 1 else torch.cat(tiles))[: x.shape[0]]

    def add_to(self, x: Tensor, base: Tensor) -> Tensor:
        for tile, part in zip(torch.split(x, self._rows), torch.split(base, self._rows), strict=True):
            whole = _padded(part, self._rows)
            added = self._kernel.add_to(_padded(tile, self._rows), whole)
            if added.data_ptr() != part.data_ptr():
                part.copy_(added[: part.shape[0]])
        return base


def with_few_row_counts(product: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """product(x), computed with a few rows more where `computed_rows` wants them. Recordings: see `_linear`."""
    if is_recording():
        return product(x)
    rows = x.shape[0]
    computed = computed_rows(rows)
    return product(x) if computed == rows else product(_padded(x, computed))[:rows]


def _padded(matrix: Tensor, rows: int) -> Tensor:
    """`matrix` with at least so many rows, zeros below."""
    missing = rows - matrix.shape[0]
    return torch.nn.functional.pad(matrix, (0, 0, 0, missing)) if missing > 0 else matrix


def _terms(count: int, largest_sum: int) -> list[slice]:
    """Cut `count` terms of a sum into runs of at most `largest_sum`."""
    return [slice(start, min(start + largest_sum, count)) for start in range(0, count, largest_sum)]


def choose_kernel(weight: Tensor, bias: Tensor | None, *, reproducible: bool = False) -> Choice:
    """The fastest kernel for `weight` (N, K) that proves itself; where none does, or none is known to, the fastest.

    If it has to be `reproducible` then that one multiplies in tiles.
    """
    size = weight.nbytes + (0 if bias is None else bias.nbytes)
    if weight.device.type != "cpu":
        return last_resort(PlainKernel(weight, bias), weight, size, reproducible=reproducible)
    fastest: Kernel | None = None
    for kernel in _candidates(weight, bias):
        if is_row_independent(kernel, weight):
            return Choice(kernel=kernel, reproducible=True, bytes=size)
        fastest = fastest or kernel
    assert fastest is not None, "torch can multiply"
    return last_resort(fastest, weight, size, reproducible=reproducible)


def last_resort(kernel: Kernel, weight: Tensor, size: int, *, reproducible: bool) -> Choice:
    """A kernel whose rows are not known to be independent, in tiles if they have to be; these prove themselves, too."""
    if not reproducible:
        return Choice(kernel=kernel, reproducible=False, bytes=size)
    tiled = TiledKernel(kernel, _TILE_ROWS_OF_CPU if weight.device.type == "cpu" else TILE_ROWS_OF_GPU)
    return Choice(kernel=tiled, reproducible=is_row_independent(tiled, weight), bytes=size)


def _candidates(weight: Tensor, bias: Tensor | None) -> Iterator[Kernel]:
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch: no types
    if available and hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        yield PackedKernel(weight, bias)
    for least_rows in (2, 4, 8, 16):
        yield PlainKernel(weight, bias, least_rows=least_rows)


def is_row_independent(kernel: Kernel, weight: Tensor) -> bool:
    """Whether a row's bits are the same for many batch sizes and at another place in the batch, weight (N, K)."""
    outputs, inputs = weight.shape
    generator = torch.Generator().manual_seed(0)
    most = max(PROOF_ROWS)
    x = torch.randn(most + _PROOF_SHIFT, inputs, generator=generator).to(weight.device)
    base = torch.randn(most + _PROOF_SHIFT, outputs, generator=generator).to(weight.device)
    product, added = kernel.product(x), kernel.add_to(x, base.clone())
    for rows in PROOF_ROWS:
        for start in (0, _PROOF_SHIFT):
            part = slice(start, start + rows)
            if not torch.equal(kernel.product(x[part]), product[part]):
                return False
            if not torch.equal(kernel.add_to(x[part], base[part].clone()), added[part]):
                return False
    return True
