"""A dense layer that makes the state at position 0 of a vector: of an image's features, of an encoder's summary."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gatehouse_server.network.arithmetic import Arithmetic
from gatehouse_server.network.dense import Dense
from gatehouse_server.network.spec import NetworkSpec, state_layout
from gatehouse_server.network.state import State


class InitialLayer:
    """state = a(W v + b), cut into the parts of the state in the order of the layout; a is tanh or nothing."""

    def __init__(self, spec: NetworkSpec, parameters: Mapping[str, Tensor], *, reproducible: bool) -> None:
        """`parameters` are those of the network, where it shall compute: in float32, once for each sequence."""
        assert spec.initial is not None, "only networks whose specification names it have one"
        self._size = spec.initial.size
        self._activation = spec.initial.activation
        self._widths = [part.width for part in state_layout(spec.recurrent).parts]
        arithmetic = Arithmetic(reproducible=reproducible)
        self.dense = Dense(parameters["initial.weight"], parameters["initial.bias"], arithmetic)

    def state(self, vectors: Tensor) -> State:
        """vectors (B, size) -> the parts of the state (B, width), contiguous. Raises ValueError for another width."""
        if vectors.dim() != 2 or vectors.shape[1] != self._size:
            raise ValueError(f"vectors: expected (B, {self._size}), got {tuple(vectors.shape)}")
        joined = self.dense.product(vectors)
        if self._activation == "tanh":
            joined = torch.tanh(joined)
        return tuple(part.contiguous() for part in torch.split(joined, self._widths, dim=1))
