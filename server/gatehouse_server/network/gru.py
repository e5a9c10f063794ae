"""Gated recurrent unit with the reset gate after the recurrent product, as `torch.nn.GRU` computes it.

r, z = sigmoid(W x + b + U h + d)     n = tanh(W_n x + b_n + r (U_n h + d_n))     h' = (1 - z) n + z h

Sources: Cho et al. 2014; the reset after the product as in cuDNN.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from gatehouse_server.network.cell import Cell
from gatehouse_server.network.dense import Dense


class GRU(Cell):
    """Gate order in the parameters, and here: r, z, n."""

    gates: ClassVar[int] = 3
    _FACTORS: ClassVar[tuple[float, ...]] = (1.0, 1.0, 2.0)  # tanh(a) = 2 sigmoid(2 a) - 1

    def prepare(self, parameters: Mapping[str, Tensor]) -> Dense:
        input_bias = recurrent_bias = None
        if self.size.bias:
            # d_n is multiplied by r, so it cannot join the input's bias as d_r and d_z could.
            input_bias = self.spread(parameters["bias_ih"], self._FACTORS)
            recurrent_bias = self.spread(parameters["bias_hh"], self._FACTORS)
        self.recurrent = self.dense(self.spread(parameters["weight_hh"], self._FACTORS), recurrent_bias)
        return self.dense(self.spread(parameters["weight_ih"], self._FACTORS), input_bias)

    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        (h,) = parts
        gates = self.recurrent.product(h)
        both = 2 * self.slot
        gates[:, :both].add_(product[:, :both]).sigmoid_()
        r, z, n = self.gate_views(gates)
        torch.mul(r, n, out=n)
        candidate = gates[:, both:]
        candidate.add_(product[:, both:]).sigmoid_()
        torch.add(self.minus_one, n, alpha=2.0, out=n)
        h.sub_(n).mul_(z).add_(n)  # z (h - n) + n

    def look(self, product: Tensor, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
        r, z, n = self.gate_views(self.recurrent.product(parts[0]))
        from_input = self.gate_views(product.clone())
        r, z = torch.sigmoid(r + from_input[0]), torch.sigmoid(z + from_input[1])
        seen = {"reset": r, "update": z, "candidate": 2.0 * torch.sigmoid(from_input[2] + r * n) - 1.0}
        self.advance(product, parts)
        return seen | self.state_by_name(parts)
