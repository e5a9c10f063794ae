"""A dense layer: the one place where a vector meets a weight matrix."""

import torch
from torch import Tensor

from gatehouse_server.network.kernel import choose_kernel


class Dense:
    """x W^T + b for a fixed `weight` (N, K) and an optional `bias` (N,), in torch's parameter layout.

    `reproducible` tells whether the kernel in use has proved, for these very weights, that a row's result
    does not depend on the number, place or content of the other rows (see `kernel`).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        weight = weight.detach().float().contiguous()
        bias = None if bias is None else bias.detach().float().contiguous()
        self.outputs, self.inputs = weight.shape
        self.bytes = weight.nbytes + (0 if bias is None else bias.nbytes)
        with torch.inference_mode():
            self._kernel, self.reproducible = choose_kernel(weight, bias)
        self.product = self._kernel.product
        self.add_to = self._kernel.add_to
