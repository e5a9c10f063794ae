"""The compared kinds of network: how Gatehouse names them, and how large they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

from gatehouse_server.network.cell_options import DEFAULT_OPTIONS, CellOptions
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import (
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
    parameter_shapes,
)
from torch import Tensor

from training.cells.network import Kind, Shape

TaskName = Literal["keyboard", "topics"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
CAUSAL: Final[tuple[Kind, ...]] = tuple(kind for kind in KINDS if kind != "bilstm")
"""Those that can tell the next word: a network that reads the text in both directions would have read it already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """As `config.json` says it: `cell`, and `options` that differ from the default."""

    name: str
    cell: str
    options: CellOptions = DEFAULT_OPTIONS
    bidirectional: bool = False


CELLS: Final[Mapping[Kind, Cell]] = MappingProxyType(
    {
        "rnn": Cell(name="vanilla RNN", cell="rnn"),
        "lstm": Cell(name="LSTM", cell="lstm"),
        "gru": Cell(name="GRU", cell="gru"),
        "cifg": Cell(name="CIFG", cell="lstm", options=CellOptions(coupled=True)),
        "peephole": Cell(name="peephole LSTM", cell="lstm", options=CellOptions(peepholes=True)),
        "bilstm": Cell(name="bidirectional LSTM", cell="lstm", bidirectional=True),
    }
)


def spec_of(shape: Shape, task: TaskName) -> NetworkSpec:
    """What Gatehouse serves for a network of this shape: each step's output, or that of the end."""
    cell = CELLS[shape.kind]
    return NetworkSpec(
        input=TokenInputSpec(vocabulary_size=shape.vocabulary_size, embedding_size=shape.embedding_size),
        recurrent=RecurrentSpec.uniform(
            cell=cell.cell,
            input_size=shape.embedding_size,
            hidden_size=shape.hidden_size,
            bidirectional=cell.bidirectional,
            options=cell.options,
        ),
        pooling=("last",) if task == "topics" else (),
        head=HeadSpec(kind="softmax", size=shape.classes),
    )


def parameter_count(shape: Shape, part: str = "") -> int:
    """All numbers that are learned, or those of the parameters whose names begin like this."""
    shapes = parameter_shapes(spec_of(shape, "topics"))
    return sum(math.prod(size) for name, size in shapes.items() if name.startswith(part))


def of_equal_count(kind: Kind, model: Shape) -> Shape:
    """The shape of another kind whose whole network is nearest to `model`'s in parameters."""
    wanted = parameter_count(model)
    candidates = [_changed(model, kind, hidden) for hidden in range(1, 8 * model.hidden_size)]
    return min(candidates, key=lambda shape: abs(parameter_count(shape) - wanted))


def of_equal_size(kind: Kind, model: Shape) -> Shape:
    """The shape of another kind with the same hidden size."""
    return _changed(model, kind, model.hidden_size)


def recorded(spec: NetworkSpec, weights: Mapping[str, Tensor]) -> Network:
    """As the server computes it."""
    network = Network.build(spec, weights)
    network.record()
    return network


def _changed(model: Shape, kind: Kind, hidden_size: int) -> Shape:
    return Shape(
        kind=kind,
        vocabulary_size=model.vocabulary_size,
        embedding_size=model.embedding_size,
        hidden_size=hidden_size,
        classes=model.classes,
    )
