"""Long short-term memory whose forget gate is one minus its input gate (CIFG).

i, o = sigmoid(W x + U h + b)      g = tanh(W x + U h + b)      c' = (1 - i) c + i g      h' = o tanh(c')

Source: Greff et al. 2015, "LSTM: A Search Space Odyssey", section III.B; ONNX's `input_forget`.
"""

from typing import ClassVar

import torch
from torch import Tensor

from gatehouse_server.network.lstm import LSTM


class CoupledLSTM(LSTM):
    """Gate order in the parameters, and here: i, g, o."""

    gates: ClassVar[int] = 3
    _FACTORS: ClassVar[tuple[float, ...]] = (1.0, 2.0, 1.0)  # tanh(a) = 2 sigmoid(2 a) - 1

    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        h, c = parts
        gates = self.recurrent.add_to(h, product).sigmoid_()
        i, g, o = self.gate_views(gates)
        torch.add(self.minus_one, g, alpha=2.0, out=g)
        c.addcmul_(i, g.sub_(c))
        # As in LSTM: g's slot takes tanh(c).
        torch.add(c, c, out=g)
        gates[:, self.slot : 2 * self.slot].sigmoid_()
        torch.add(self.minus_one, g, alpha=2.0, out=g)
        self._hand_on(o, g, h)

    def look(self, product: Tensor, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
        i, g, o = self.gate_views(self.recurrent.add_to(parts[0], product.clone()).sigmoid_())
        seen = {"input": i, "forget": 1.0 - i, "output": o, "candidate": 2.0 * g - 1.0}
        self.advance(product, parts)
        return seen | self.state_by_name(parts)
