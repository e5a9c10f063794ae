"""Long short-term memory with everything that has been added to it: peepholes, coupled gates, clips, activations.

i = f(W x + U h + b + p_i c)     f_t = f(W x + U h + b + p_f c), or 1 - i where the gates are coupled
g = a(W x + U h + b)             c' = f_t c + i g
o = f(W x + U h + b + p_o c')    h' = o a'(c'), or with a projection V (o a'(c'))

f is the gate activation, a the activation, a' the output activation. `gate_clip` bounds what f and a are applied to,
`cell_clip` c'. It is slower than `lstm`, which has these at their defaults.

Sources: Gers and Schmidhuber 2000 (peepholes, diagonal); Greff et al. 2015 (coupled gates); ONNX operator LSTM
(`P`, `clip`, `input_forget`, activations); TensorFlow 1 LSTMCell (`cell_clip`).
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from gatehouse_server.network.activations import activate
from gatehouse_server.network.cell import Cell, CellSize
from gatehouse_server.network.dense import Dense
from gatehouse_server.network.state import StatePart


class GeneralLSTM(Cell):
    """Gate order in the parameters: i, f, g, o; with coupled gates i, g, o. Peepholes: i, f, o; coupled i, o."""

    projects: ClassVar[bool] = True

    @classmethod
    def parameter_shapes(cls, size: CellSize) -> dict[str, tuple[int, ...]]:
        shapes = _gates_of(size)
        rows = len(shapes) * size.hidden_size
        named: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, size.input_size),
            "weight_hh": (rows, size.output_size),
        }
        if size.bias:
            named |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if size.options.peepholes:
            named["peephole"] = ((len(shapes) - 1) * size.hidden_size,)
        if size.projection_size:
            named["weight_hr"] = (size.projection_size, size.hidden_size)
        return named

    @classmethod
    def parts(cls, size: CellSize) -> tuple[StatePart, ...]:
        return (*super().parts(size), StatePart(name="c", width=size.hidden_size))

    def prepare(self, parameters: Mapping[str, Tensor]) -> Dense:
        options = self.size.options
        self._output_activation = options.output_activation or options.activation
        self._gates = _gates_of(self.size)
        factors = (1.0,) * len(self._gates)
        bias = None
        if self.size.bias:
            bias = self.spread(parameters["bias_ih"].float() + parameters["bias_hh"].float(), factors)
        self._peepholes: dict[str, Tensor] = {}
        if options.peepholes:
            looking = [gate for gate in self._gates if gate != "g"]
            weights = parameters["peephole"].float().view(len(looking), self.size.hidden_size)
            self._peepholes = dict(zip(looking, weights.unbind(0), strict=True))
        self._recurrent = self.dense(self.spread(parameters["weight_hh"], factors))
        self._projection = self.dense(parameters["weight_hr"]) if self.size.projection_size else None
        return self.dense(self.spread(parameters["weight_ih"], factors), bias)

    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        self._step(product, parts)

    def look(self, product: Tensor, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return self._step(product, parts) | self.state_by_name(parts)

    def _step(self, product: Tensor, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
        h, c = parts
        options, hidden = self.size.options, self.size.hidden_size
        before = self._recurrent.add_to(h, product)
        slots = dict(zip(self._gates, before.view(-1, len(self._gates), self.slot).unbind(1), strict=True))
        i = self._gate("i", slots["i"], c)
        f = self._gate("f", slots["f"], c) if "f" in slots else 1.0 - i
        g = activate(options.activation, self._bounded(slots["g"]))[:, :hidden]
        c.mul_(f).addcmul_(i, g)
        if options.cell_clip is not None:
            c.clamp_(-options.cell_clip, options.cell_clip)
        o = self._gate("o", slots["o"], c)
        # In a slot of its own, for the vector code (see `cell`).
        room = torch.zeros_like(slots["g"])
        room[:, :hidden] = c
        activated = o * activate(self._output_activation, room)[:, :hidden]
        h.copy_(activated if self._projection is None else self._projection.product(activated))
        return {"input": i, "forget": f, "output": o, "candidate": g}

    def _gate(self, name: str, slot: Tensor, c: Tensor) -> Tensor:
        if name in self._peepholes:
            slot[:, : self.size.hidden_size].addcmul_(c, self._peepholes[name])
        return activate(self.size.options.gate_activation, self._bounded(slot))[:, : self.size.hidden_size]

    def _bounded(self, slot: Tensor) -> Tensor:
        clip = self.size.options.gate_clip
        return slot if clip is None else slot.clamp_(-clip, clip)


def _gates_of(size: CellSize) -> tuple[str, ...]:
    return ("i", "g", "o") if size.options.coupled else ("i", "f", "g", "o")
