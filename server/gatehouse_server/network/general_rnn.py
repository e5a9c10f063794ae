"""The simple recurrent network with any activation: h' = a(W x + U h + b). Source: Elman 1990; ONNX operator RNN."""

from typing import ClassVar

from torch import Tensor

from gatehouse_server.network.activations import activate
from gatehouse_server.network.rnn import TanhRNN


class GeneralRNN(TanhRNN):
    """A single gate; `gate_clip` bounds what the activation is applied to."""

    _FACTORS: ClassVar[tuple[float, ...]] = (1.0,)

    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        (h,) = parts
        options = self.size.options
        before = self.recurrent.add_to(h, product)
        if options.gate_clip is not None:
            before.clamp_(-options.gate_clip, options.gate_clip)
        h.copy_(activate(options.activation, before)[:, : self.size.hidden_size])
