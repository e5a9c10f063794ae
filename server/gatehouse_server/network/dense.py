"""A dense layer: the one place where a vector meets a weight matrix."""

from typing import Literal

import torch
from torch import Tensor

from gatehouse_server.network.int8 import choose_int8_kernel
from gatehouse_server.network.kernel import Kernel, choose_kernel

Precision = Literal["float32", "int8"]
"""Of the weights in matrix products. States, gates, biases and results are float32 in either."""


class Dense:
    """x W^T + b for a fixed `weight` (N, K) and an optional `bias` (N,), in torch's parameter layout.

    `reproducible` tells whether the kernel in use has proved, for these very weights, that a row's result
    does not depend on the number, place or content of the other rows (see `kernel`).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, precision: Precision = "float32") -> None:
        weight = weight.detach().float().contiguous()
        bias = None if bias is None else bias.detach().float().contiguous()
        self.outputs, self.inputs = weight.shape
        kernel: Kernel
        with torch.inference_mode():
            if precision == "int8":
                kernel, self.reproducible, self.bytes = choose_int8_kernel(weight, bias)
            else:
                kernel, self.reproducible = choose_kernel(weight, bias)
                self.bytes = weight.nbytes + (0 if bias is None else bias.nbytes)
        self.product = kernel.product
        self.add_to = kernel.add_to
