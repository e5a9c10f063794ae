"""Matrix products of 16-bit factors, for GPUs: half the memory to read, and many times the arithmetic.

Weights are rounded once, inputs at each product. Each product of two such numbers is exact in float32, and so
are the sums kept: only the factors lose digits. Results, states and gates are float32.

An input that float16 cannot hold becomes NaN, and so does the state that comes of it: infinity would saturate gates,
and the state would look sound.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from gatehouse_server.network.arithmetic import Arithmetic
from gatehouse_server.network.kernel import Choice, Kernel, choose_kernel, last_resort

_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class HalfKernel:
    """16-bit factors, float32 sums and results, by a GPU's instructions for that."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._weight = weight.t().to(dtype).contiguous()
        self._bias = bias
        self._dtype = dtype

    def product(self, x: Tensor) -> Tensor:
        product = torch.mm(_rounded(x, self._dtype), self._weight, out_dtype=torch.float32)
        return product if self._bias is None else product.add_(self._bias)

    def add_to(self, x: Tensor, base: Tensor) -> Tensor:
        return base.add_(torch.mm(_rounded(x, self._dtype), self._weight, out_dtype=torch.float32))


class RoundedKernel:
    """The same factors multiplied as float32: for devices without such instructions, where it saves nothing."""

    def __init__(self, kernel: Kernel, dtype: torch.dtype) -> None:
        """`kernel` multiplies by the rounded weights."""
        self._kernel = kernel
        self._dtype = dtype

    def product(self, x: Tensor) -> Tensor:
        return self._kernel.product(_rounded(x, self._dtype).float())

    def add_to(self, x: Tensor, base: Tensor) -> Tensor:
        return self._kernel.add_to(_rounded(x, self._dtype).float(), base)


def _rounded(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x float32 in 16 bits; NaN where float16 has no room for it. bfloat16 reaches as far as float32."""
    rounded = x.to(dtype)
    # Leaves what is finite as it is, to the bit, and makes NaN of infinity: one operator, where a mask takes several.
    return rounded.fmod_(math.inf) if dtype == torch.float16 else rounded


def choose_half_kernel(weight: Tensor, bias: Tensor | None, arithmetic: Arithmetic) -> Choice:
    """The kernel for `weight` (N, K) in bfloat16 or float16."""
    dtype = _TYPES[arithmetic.precision]
    if weight.device.type == "cuda":
        size = weight.nbytes // 2 + (0 if bias is None else bias.nbytes)
        kernel = HalfKernel(weight, bias, dtype)
        return last_resort(kernel, weight, size, reproducible=arithmetic.reproducible)
    choice = choose_kernel(weight.to(dtype).float(), bias, reproducible=arithmetic.reproducible)
    return replace(choice, kernel=RoundedKernel(choice.kernel, dtype))
