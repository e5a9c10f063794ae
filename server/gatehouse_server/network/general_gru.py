"""Gated recurrent unit with its reset gate before or after the recurrent product, any activations, and a clip.

r, z = f(W x + b + U h + d)     h' = (1 - z) n + z h
n = a(W_n x + b_n + r (U_n h + d_n))       reset after the product
n = a(W_n x + b_n + U_n (r h) + d_n)       reset before the product

f is the gate activation, a the activation, `gate_clip` bounds what they are applied to. It is slower than `gru`, which
has these at their defaults.

Sources: Cho et al. 2014, equations 5 to 8 (reset before the product); ONNX operator GRU
(`linear_before_reset`, `clip`, activations).
"""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from gatehouse_server.network.activations import activate
from gatehouse_server.network.cell import Cell
from gatehouse_server.network.dense import Dense


class GeneralGRU(Cell):
    """Gate order in the parameters, and here: r, z, n."""

    gates: ClassVar[int] = 3

    def prepare(self, parameters: Mapping[str, Tensor]) -> Dense:
        factors = (1.0,) * self.gates
        input_bias = recurrent_bias = None
        if self.size.bias:
            input_bias = self.spread(parameters["bias_ih"], factors)
            recurrent_bias = self.spread(parameters["bias_hh"], factors)
        recurrent = self.spread(parameters["weight_hh"], factors)
        both = 2 * self.slot
        self._gates = self.dense(recurrent[:both], None if recurrent_bias is None else recurrent_bias[:both])
        self._candidate = self.dense(
            recurrent[both:], None if recurrent_bias is None else recurrent_bias[both:]
        )
        return self.dense(self.spread(parameters["weight_ih"], factors), input_bias)

    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        self._step(product, parts)

    def look(self, product: Tensor, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return self._step(product, parts) | self.state_by_name(parts)

    def _step(self, product: Tensor, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
        (h,) = parts
        options, hidden, both = self.size.options, self.size.hidden_size, 2 * self.slot
        gates = self._gates.product(h).add_(product[:, :both])
        activate(options.gate_activation, self._bounded(gates))
        r, z = gates[:, :hidden], gates[:, self.slot : self.slot + hidden]
        before = product[:, both:]
        if options.reset == "before":
            before = before + self._candidate.product((r * h).contiguous())
        else:
            before = before + gates[:, : self.slot] * self._candidate.product(h)
        n = activate(options.activation, self._bounded(before))[:, :hidden]
        h.sub_(n).mul_(z).add_(n)  # z (h - n) + n
        return {"reset": r, "update": z, "candidate": n}

    def _bounded(self, values: Tensor) -> Tensor:
        clip = self.size.options.gate_clip
        return values if clip is None else values.clamp_(-clip, clip)
