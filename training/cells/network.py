"""Embedding, one recurrent layer in one or both directions, and a softmax: at each step, or at the end of a text."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import torch
from torch import Tensor, nn

from training.cells.recurrences import CoupledLstm, Gru, Lstm, PeepholeLstm, Recurrence, Vanilla

Kind = Literal["rnn", "lstm", "gru", "cifg", "peephole", "bilstm"]

RECURRENCES: Final = MappingProxyType[Kind, Callable[[int, int], Recurrence]](
    {
        "rnn": Vanilla,
        "lstm": Lstm,
        "gru": Gru,
        "cifg": CoupledLstm,
        "peephole": PeepholeLstm,
        "bilstm": Lstm,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """V, E, H of each direction, and the number of classes, which are the next words for a language model."""

    kind: Kind
    vocabulary_size: int
    embedding_size: int
    hidden_size: int
    classes: int


class CellNetwork(nn.Module):
    """Of one kind. Only whole texts of equal length go in: the reverse direction begins at the last step."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        make = RECURRENCES[shape.kind]
        self.embedding = nn.Embedding(shape.vocabulary_size, shape.embedding_size)
        self.ahead = make(shape.embedding_size, shape.hidden_size)
        self.back = make(shape.embedding_size, shape.hidden_size) if shape.kind == "bilstm" else None
        self.head = nn.Linear(shape.hidden_size * (1 if self.back is None else 2), shape.classes)

    def outputs(self, ids: Tensor) -> Tensor:
        """(T, B, R) of ids (T, B); the reverse direction's at the steps they belong to."""
        x = self.embedding(ids)
        ahead: Tensor = self.ahead(x)
        if self.back is None:
            return ahead
        return torch.cat([ahead, self.back(x.flip(0)).flip(0)], dim=2)

    def ends(self, ids: Tensor) -> Tensor:
        """(B, R) of ids (T, B): what each direction has when it has read everything."""
        x = self.embedding(ids)
        ends: list[Tensor] = [self.ahead(x)[-1]]
        if self.back is not None:
            ends.append(self.back(x.flip(0))[-1])
        return torch.cat(ends, dim=1)

    def weights(self) -> dict[str, Tensor]:
        """The parameters under the names of the model format, float32."""
        named = {"embedding.weight": self.embedding.weight}
        for direction, suffix in ((self.ahead, ""), (self.back, "_reverse")):
            if direction is not None:
                named |= {f"rnn.{name}_l0{suffix}": value for name, value in direction.named_parameters()}
        named |= {"head.weight": self.head.weight, "head.bias": self.head.bias}
        return {name: value.detach().float().contiguous() for name, value in named.items()}
