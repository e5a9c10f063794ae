"""The compared cells as plain torch modules, one loop over the steps for all of them.

torch's own LSTM has a loop in C++ and other cells have not, so with it times would compare loops. Equations and gate
orders are those of the cells that Gatehouse serves. Gates that decide how much is kept begin at sigmoid(1) = 0.73,
in every cell that has one: the forget gate by its bias 1 (Gers et al. 2000), the others by the same.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""The output h (B, H) first, then the cell state c (B, H) where there is one."""


class Recurrence(nn.Module, ABC):
    """One direction of one layer, with torch's parameter names and first weights: uniform in +-1 / sqrt(H)."""

    gates: ClassVar[int]
    parts: ClassVar[int] = 1
    keeping: ClassVar[tuple[int, float]] = (0, 0.0)  # which gate's bias has another value at first, and which

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        rows = self.gates * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias_ih = nn.Parameter(torch.zeros(rows))
        self.bias_hh = nn.Parameter(torch.zeros(rows))
        for weight in (self.weight_ih, self.weight_hh):
            nn.init.uniform_(weight, -1 / math.sqrt(hidden_size), 1 / math.sqrt(hidden_size))
        gate, value = self.keeping
        with torch.no_grad():
            self.bias_ih[gate * hidden_size : (gate + 1) * hidden_size] = value

    @abstractmethod
    def step(self, product: Tensor, state: State, recurrent: Tensor) -> State:
        """The next state from what the input gives (B, G), the state, and U transposed (H, G)."""

    def input_bias(self) -> Tensor:
        """What is added to the input's product (G,)."""
        return self.bias_ih + self.bias_hh

    def states(self, x: Tensor, *, apart: bool = False) -> Iterator[State]:
        """The state after each step of x (T, B, N), from the zero state.

        `apart`: each part of a state is a tensor of its own that only later steps read, so that its gradient is the
        derivative by what is carried on at that step.
        """
        products = torch.addmm(self.input_bias(), x.flatten(0, 1), self.weight_ih.t())
        products = products.view(x.shape[0], x.shape[1], -1)
        state = tuple(x.new_zeros(x.shape[1], self.hidden_size) for _ in range(self.parts))
        recurrent = self.weight_hh.t()
        for product in products.unbind(0):
            state = self.step(product, state, recurrent)
            if apart:
                state = tuple(part.clone() for part in state)
            yield state

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (T, B, H)."""
        return torch.stack([state[0] for state in self.states(x)])


class Vanilla(Recurrence):
    """h' = tanh(W x + U h + b)."""

    gates = 1

    def step(self, product: Tensor, state: State, recurrent: Tensor) -> State:
        return (torch.tanh(torch.addmm(product, state[0], recurrent)),)


class Lstm(Recurrence):
    """Gates i, f, g, o."""

    gates, parts, keeping = 4, 2, (1, 1.0)

    def step(self, product: Tensor, state: State, recurrent: Tensor) -> State:
        h, c = state
        H = self.hidden_size
        gates = torch.addmm(product, h, recurrent)
        both, g, o = gates[:, : 2 * H], gates[:, 2 * H : 3 * H], gates[:, 3 * H :]
        i, f = torch.sigmoid(both).chunk(2, dim=1)
        c = torch.addcmul(f * c, i, torch.tanh(g))
        return torch.sigmoid(o) * torch.tanh(c), c


class CoupledLstm(Recurrence):
    """Gates i, g, o; the forget gate is 1 - i."""

    gates, parts, keeping = 3, 2, (0, -1.0)

    def step(self, product: Tensor, state: State, recurrent: Tensor) -> State:
        h, c = state
        i, g, o = torch.addmm(product, h, recurrent).chunk(3, dim=1)
        c = torch.lerp(c, torch.tanh(g), torch.sigmoid(i))
        return torch.sigmoid(o) * torch.tanh(c), c


class PeepholeLstm(Recurrence):
    """Gates i, f, g, o; i and f look at the cell state before the step, o at that after it."""

    gates, parts, keeping = 4, 2, (1, 1.0)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.peephole = nn.Parameter(torch.empty(3 * hidden_size))  # i, f, o
        nn.init.uniform_(self.peephole, -1 / math.sqrt(hidden_size), 1 / math.sqrt(hidden_size))

    def step(self, product: Tensor, state: State, recurrent: Tensor) -> State:
        h, c = state
        H = self.hidden_size
        looks = self.peephole
        gates = torch.addmm(product, h, recurrent)
        both, g, o = gates[:, : 2 * H], gates[:, 2 * H : 3 * H], gates[:, 3 * H :]
        i, f = torch.sigmoid(torch.addcmul(both, torch.cat([c, c], dim=1), looks[: 2 * H])).chunk(2, dim=1)
        c = torch.addcmul(f * c, i, torch.tanh(g))
        return torch.sigmoid(torch.addcmul(o, c, looks[2 * H :])) * torch.tanh(c), c


class Gru(Recurrence):
    """Gates r, z, n; the reset gate after the product."""

    gates, keeping = 3, (1, 1.0)

    def input_bias(self) -> Tensor:
        H = self.hidden_size
        return self.bias_ih + torch.cat([self.bias_hh[: 2 * H], torch.zeros(H, dtype=self.bias_hh.dtype)])

    def step(self, product: Tensor, state: State, recurrent: Tensor) -> State:
        (h,) = state
        H = self.hidden_size
        from_input, candidate = product[:, : 2 * H], product[:, 2 * H :]
        gates = torch.addmm(from_input, h, recurrent[:, : 2 * H])
        r, z = torch.sigmoid(gates).chunk(2, dim=1)
        n = torch.tanh(candidate + r * torch.addmm(self.bias_hh[2 * H :], h, recurrent[:, 2 * H :]))
        return (torch.lerp(n, h, z),)
