"""Long short-term memory with a forget gate, as `torch.nn.LSTM` computes it.

i, f, o = sigmoid(W x + U h + b)      g = tanh(W x + U h + b)
c' = f c + i g                        h' = o tanh(c')           or, with a projection, h' = V (o tanh(c'))

Sources: Hochreiter and Schmidhuber 1997; Gers et al. 2000 (forget gate); Sak et al. 2014 (projection).
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from gatehouse_server.network.cell import Cell, CellSize
from gatehouse_server.network.dense import Dense
from gatehouse_server.network.state import StatePart


class LSTM(Cell):
    """Gate order in the parameters, and here: i, f, g, o."""

    gates: ClassVar[int] = 4
    projects: ClassVar[bool] = True
    _FACTORS: ClassVar[tuple[float, ...]] = (1.0, 1.0, 2.0, 1.0)  # tanh(a) = 2 sigmoid(2 a) - 1

    @classmethod
    def parts(cls, size: CellSize) -> tuple[StatePart, ...]:
        return (*super().parts(size), StatePart(name="c", width=size.hidden_size))

    def prepare(self, parameters: Mapping[str, Tensor]) -> Dense:
        bias = None
        if self.size.bias:
            bias = self.spread(parameters["bias_ih"].float() + parameters["bias_hh"].float(), self._FACTORS)
        self.recurrent = self.dense(self.spread(parameters["weight_hh"], self._FACTORS))
        self.projection = self.dense(parameters["weight_hr"]) if self.size.projection_size else None
        return self.dense(self.spread(parameters["weight_ih"], self._FACTORS), bias)

    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        h, c = parts
        gates = self.recurrent.add_to(h, product).sigmoid_()
        i, f, g, o = self.gate_views(gates)
        torch.add(self.minus_one, g, alpha=2.0, out=g)
        c.mul_(f).addcmul_(i, g)
        # g's slot, no longer needed, takes tanh(c); the whole slot, for the vector code (see `cell`).
        torch.add(c, c, out=g)
        gates[:, 2 * self.slot : 3 * self.slot].sigmoid_()
        torch.add(self.minus_one, g, alpha=2.0, out=g)
        self._hand_on(o, g, h)

    def _hand_on(self, o: Tensor, activated: Tensor, h: Tensor) -> None:
        """h = o times the activated cell state, projected if there is a projection."""
        if self.projection is None:
            torch.mul(o, activated, out=h)
        else:
            room = self.workspace.take("hidden", h.shape[0], self.size.hidden_size)
            h.copy_(self.projection.product(torch.mul(o, activated, out=room)))

    def look(self, product: Tensor, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
        i, f, g, o = self.gate_views(self.recurrent.add_to(parts[0], product.clone()).sigmoid_())
        seen = {"input": i, "forget": f, "output": o, "candidate": 2.0 * g - 1.0}
        self.advance(product, parts)
        return seen | self.state_by_name(parts)
