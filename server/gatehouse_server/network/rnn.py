"""The simple (Elman) recurrent network, as `torch.nn.RNN` computes it: h' = f(W x + U h + b), f tanh or ReLU.

Source: Elman 1990.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from gatehouse_server.network.cell import Cell
from gatehouse_server.network.dense import Dense


class TanhRNN(Cell):
    """A single gate with tanh."""

    gates: ClassVar[int] = 1
    _FACTORS: ClassVar[tuple[float, ...]] = (2.0,)  # tanh(a) = 2 sigmoid(2 a) - 1

    def prepare(self, parameters: Mapping[str, Tensor]) -> Dense:
        bias = None
        if self.size.bias:
            bias = self.spread(parameters["bias_ih"].float() + parameters["bias_hh"].float(), self._FACTORS)
        self.recurrent = self.dense(self.spread(parameters["weight_hh"], self._FACTORS))
        return self.dense(self.spread(parameters["weight_ih"], self._FACTORS), bias)

    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        (h,) = parts
        gate = self.recurrent.add_to(h, product).sigmoid_()
        torch.add(self.minus_one, gate[:, : self.size.hidden_size], alpha=2.0, out=h)


class ReluRNN(TanhRNN):
    """A single gate with max(0, a)."""

    _FACTORS: ClassVar[tuple[float, ...]] = (1.0,)

    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        (h,) = parts
        torch.clamp(self.recurrent.add_to(h, product)[:, : self.size.hidden_size], min=0.0, out=h)
