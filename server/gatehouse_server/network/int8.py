"""Matrix products with 8-bit integer weights: a quarter of the memory to read, and faster integer arithmetic.

Weights are rounded once, with one scale for each output. Inputs are rounded at each product, with one scale
for each row: a scale over the batch would let a loud neighbour change a row. The sum of integer products is
exact in whatever order it is taken, so that rows cannot depend on each other there; scales and bias are then
applied in float32. Scales are symmetric: zero stays zero.

torch offers the product of integers as `_int_mm` (oneDNN's s8 x s8 -> s32 on a CPU). Where it is wrong, as on
processors whose 8-bit instructions saturate, the same integers are multiplied as floats: slower, with the
same result.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gatehouse_server.network.kernel import PROOF_ROWS, Choice, is_row_independent, with_few_row_counts
from gatehouse_server.network.recording import is_recording

_LEVELS = 127.0
_SMALLEST_SCALE = 1e-30  # instead of 0, for rows of zeros
_LARGEST_EXACT_SUM = 1024  # 127 * 127 * 1024 < 2^24: float32 adds so many products without rounding
_EXTREME_ROWS = 8

IntegerProduct = Callable[[Tensor], Tensor]
"""(M, K) int8 -> its product with fixed int8 weights, (M, N) float32, a tensor of its own."""


def quantized_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (M, K) -> integers (M, K) int8 and scales (M, 1), so that integers * scales is x up to scale / 2."""
    scales = x.abs().amax(dim=1, keepdim=True).mul_(1 / _LEVELS).clamp_min_(_SMALLEST_SCALE)
    return (x / scales).round_().to(torch.int8), scales


class Int8Kernel:
    """x W^T + b with `weights` (N, K) of int8, `scales` (N,) and an optional `bias` (N,) of float32."""

    def __init__(self, multiply: IntegerProduct, scales: Tensor, bias: Tensor | None) -> None:
        self._multiply = multiply
        self._scales = scales
        self._bias = bias

    def product(self, x: Tensor) -> Tensor:
        integers, row_scales = quantized_rows(x)
        product = self._multiply(integers).mul_(self._scales)
        if self._bias is None:
            return product.mul_(row_scales)
        return torch.addcmul(self._bias, product, row_scales, out=product)

    def add_to(self, x: Tensor, base: Tensor) -> Tensor:
        integers, row_scales = quantized_rows(x)
        return base.addcmul_(self._multiply(integers).mul_(self._scales), row_scales)


class IntegerMultiplication:
    """By integer instructions; the sums are turned into floats where they lie."""

    def __init__(self, weights: Tensor) -> None:
        """weights (N, K) int8."""
        self._weights = weights.t()  # this layout, columns first, is several times faster than (K, N)
        self.bytes = weights.nbytes

    def __call__(self, integers: Tensor) -> Tensor:
        return with_few_row_counts(self._product, integers)

    def _product(self, integers: Tensor) -> Tensor:
        sums = torch._int_mm(integers, self._weights)
        if is_recording():  # the recorder does not know views of another type
            return sums.float()
        return sums.view(torch.float32).copy_(sums)


class FloatMultiplication:
    """The same sums from float32 products, exact because all of them are small integers."""

    def __init__(self, weights: Tensor) -> None:
        """weights (N, K) int8."""
        self._parts = [part.float().t().contiguous() for part in _summands(weights)]
        self.bytes = sum(part.nbytes for part in self._parts)

    def __call__(self, integers: Tensor) -> Tensor:
        products = [x @ part for x, part in zip(_summands(integers.float()), self._parts, strict=True)]
        if len(products) == 1:
            return products[0]
        return torch.stack(products).sum(dim=0, dtype=torch.float64).float()  # rounded once


def _summands(matrix: Tensor) -> tuple[Tensor, ...]:
    """Cut (n, K) into (n, at most _LARGEST_EXACT_SUM) each."""
    return torch.split(matrix, _LARGEST_EXACT_SUM, dim=1)


def choose_int8_kernel(weight: Tensor, bias: Tensor | None) -> Choice:
    """The fastest kernel for `weight` (N, K) that multiplies rightly, and whether its rows proved to be independent."""
    weights, scales = quantized_rows(weight)
    scales = scales.flatten()
    rest = scales.nbytes + (0 if bias is None else bias.nbytes)
    for multiply in _candidates(weights):
        kernel = Int8Kernel(multiply, scales, bias)
        if is_exact(multiply, weights) and is_row_independent(kernel, weight):
            return Choice(kernel=kernel, reproducible=True, bytes=multiply.bytes + rest)
    last = FloatMultiplication(weights)
    return Choice(kernel=Int8Kernel(last, scales, bias), reproducible=False, bytes=last.bytes + rest)


def _candidates(weights: Tensor) -> Iterator[IntegerMultiplication | FloatMultiplication]:
    # Of a single term torch mistakes the layout, and reads beyond the end. On a GPU it takes only some shapes.
    if weights.device.type == "cpu" and hasattr(torch, "_int_mm") and weights.shape[1] > 1:
        yield IntegerMultiplication(weights)
    yield FloatMultiplication(weights)


def is_exact(multiply: IntegerProduct, weights: Tensor) -> bool:
    """Whether the sums are right for the largest inputs, of the signs that make them largest, at any batch size."""
    signs = torch.where(weights[:_EXTREME_ROWS] < 0, -127, 127).to(torch.int8)
    generator = torch.Generator().manual_seed(0)
    count = max(PROOF_ROWS) - signs.shape[0]
    others = torch.randint(-127, 128, (count, weights.shape[1]), generator=generator, dtype=torch.int8)
    integers = torch.cat([signs, -signs[:1], others.to(weights.device)])[: max(PROOF_ROWS)]
    expected = (integers.double() @ weights.double().t()).float()
    return all(torch.equal(multiply(integers[:rows]), expected[:rows]) for rows in PROOF_ROWS)
