"""A dense layer: the one place where a vector meets a weight matrix."""

import torch
from torch import Tensor

from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic
from gatehouse_server.network.half import choose_half_kernel
from gatehouse_server.network.int8 import choose_int8_kernel
from gatehouse_server.network.kernel import choose_kernel


class Dense:
    """x W^T + b for a fixed `weight` (N, K) and an optional `bias` (N,), in torch's parameter layout.

    `reproducible` tells whether the kernel in use has proved, for these very weights, that a row's result
    does not depend on the number, place or content of the other rows (see `kernel`).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, arithmetic: Arithmetic = FLOAT32) -> None:
        weight = weight.detach().float().contiguous()
        bias = None if bias is None else bias.detach().float().contiguous()
        self.outputs, self.inputs = weight.shape
        with torch.inference_mode():
            if arithmetic.precision == "int8":
                choice = choose_int8_kernel(weight, bias)
            elif arithmetic.precision == "float32":
                choice = choose_kernel(weight, bias, reproducible=arithmetic.reproducible)
            else:
                choice = choose_half_kernel(weight, bias, arithmetic)
        self.reproducible, self.bytes = choice.reproducible, choice.bytes
        self.product = choice.kernel.product
        self.add_to = choice.kernel.add_to
