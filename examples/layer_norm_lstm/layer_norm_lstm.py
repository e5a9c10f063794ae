"""Long short-term memory with layer normalisation: a cell from outside of Gatehouse.

a = LN(W x; s_x, t_x) + LN(U h; s_h, t_h) + b     i, f, o = sigmoid(a_i, a_f, a_o)     g = tanh(a_g)
c' = f c + i g                                    h' = o tanh(LN(c'; s_c, t_c))

LN(a; s, t) = s (a - mean(a)) / sqrt(var(a) + epsilon) + t, over all four gates together.

Source: Ba, Kiros and Hinton 2016, "Layer Normalization", equations 20 to 22 of the supplementary material.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from gatehouse_server.cells import Cell, CellOptions, CellSize, Dense, StatePart
from torch import Tensor
from torch.nn.functional import layer_norm


class LayerNormLSTM(Cell):
    """Gate order in the parameters: i, f, g, o. Option: `epsilon`, 1e-5 unless given."""

    gates: ClassVar[int] = 4

    @classmethod
    def check_options(cls, options: CellOptions) -> None:
        for name, value in options.extra:
            if name != "epsilon":
                raise ValueError(f"{name}: not an option of layer_norm_lstm, which has epsilon")
            if not isinstance(value, float) or value <= 0:
                raise ValueError(f"epsilon: expected a positive number, got {value!r}")

    @classmethod
    def parameter_shapes(cls, size: CellSize) -> dict[str, tuple[int, ...]]:
        rows, width = 4 * size.hidden_size, size.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, size.input_size),
            "weight_hh": (rows, width),
        }
        for name, units in (("input", rows), ("recurrent", rows), ("cell", width)):
            shapes |= {f"{name}_scale": (units,), f"{name}_shift": (units,)}
        return shapes | ({"bias": (rows,)} if size.bias else {})

    @classmethod
    def parts(cls, size: CellSize) -> tuple[StatePart, ...]:
        return (*super().parts(size), StatePart(name="c", width=size.hidden_size))

    def prepare(self, parameters: Mapping[str, Tensor]) -> Dense:
        self._epsilon = float(dict(self.size.options.extra).get("epsilon", 1e-5))
        self._norms = {
            name: (parameters[f"{name}_scale"], parameters[f"{name}_shift"])
            for name in ("input", "recurrent", "cell")
        }
        self._bias = parameters.get("bias", torch.zeros(4 * self.size.hidden_size, device=self.device))
        self._recurrent = self.dense(parameters["weight_hh"])
        return self.dense(parameters["weight_ih"])

    def input_product(self, x: Tensor) -> Tensor:
        """What depends on the input alone is computed here: for all steps of a chunk, or all tokens, at once."""
        return self._normalised("input", self.input.product(x)) + self._bias

    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        self._step(product, parts)

    def look(self, product: Tensor, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return self._step(product, parts) | self.state_by_name(parts)

    def _step(self, product: Tensor, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
        h, c = parts
        before = product + self._normalised("recurrent", self._recurrent.product(h))
        i, f, g, o = before.view(-1, 4, self.size.hidden_size).unbind(1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        c.mul_(f).add_(i * g)
        h.copy_(o * torch.tanh(self._normalised("cell", c)))
        return {"input": i, "forget": f, "output": o, "candidate": g}

    def _normalised(self, name: str, values: Tensor) -> Tensor:
        scale, shift = self._norms[name]
        return layer_norm(values, scale.shape, scale, shift, self._epsilon)
