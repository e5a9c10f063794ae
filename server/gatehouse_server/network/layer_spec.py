"""One recurrent layer: its cell, its dimensions, its directions and how they are joined."""

from dataclasses import dataclass
from typing import Literal, get_args

from gatehouse_server.network.cell import Cell, CellSize
from gatehouse_server.network.cell_options import DEFAULT_OPTIONS, CellOptions
from gatehouse_server.network.checks import check_choice, check_positive
from gatehouse_server.network.registry import cell_class

LayerDirection = Literal["forward", "reverse", "both"]
Direction = Literal["forward", "reverse"]
Merge = Literal["concat", "sum", "average", "multiply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpec:
    """`merge` joins two directions, if there are two. `reverse_options` are those of the reverse direction where it
    computes something else. `initial_state`: sequences begin in a state that is part of the parameters, not in zeros.
    """

    cell: str
    input_size: int
    hidden_size: int
    projection_size: int = 0
    bias: bool = True
    direction: LayerDirection = "forward"
    merge: Merge = "concat"
    options: CellOptions = DEFAULT_OPTIONS
    reverse_options: CellOptions | None = None
    initial_state: bool = False

    def __post_init__(self) -> None:
        check_positive(input_size=self.input_size, hidden_size=self.hidden_size)
        check_choice("direction", self.direction, get_args(LayerDirection))
        check_choice("merge", self.merge, get_args(Merge))
        kinds = [self.kind(direction) for direction in self.directions]
        if self.projection_size and not all(kind.projects for kind in kinds):
            raise ValueError(f"projection_size: expected 0 for cell {self.cell}, got {self.projection_size}")
        if not 0 <= self.projection_size < self.hidden_size:
            raise ValueError(
                f"projection_size: expected 0..{self.hidden_size - 1}, less than hidden_size, "
                f"got {self.projection_size}"
            )

    @property
    def directions(self) -> tuple[Direction, ...]:
        """In the order in which their outputs are joined."""
        return ("forward", "reverse") if self.direction == "both" else (self.direction,)

    @property
    def step_size(self) -> int:
        """Values per step and direction: P with a projection, else H."""
        return self.projection_size or self.hidden_size

    @property
    def output_size(self) -> int:
        """Values per step that the layer hands on, directions joined."""
        return self.step_size * (2 if self.direction == "both" and self.merge == "concat" else 1)

    def options_of(self, direction: Direction) -> CellOptions:
        """What one direction computes."""
        if direction == "reverse" and self.reverse_options is not None:
            return self.reverse_options
        return self.options

    def kind(self, direction: Direction) -> type[Cell]:
        """The implementation of one direction. Raises ValueError for options that no cell of that name has."""
        return cell_class(self.cell, self.options_of(direction))

    def cell_size(self, direction: Direction) -> CellSize:
        """The dimensions of one direction, with what it computes."""
        return CellSize(
            input_size=self.input_size,
            hidden_size=self.hidden_size,
            projection_size=self.projection_size,
            bias=self.bias,
            options=self.options_of(direction),
        )

    def parameter_shapes(self, direction: Direction) -> dict[str, tuple[int, ...]]:
        """Names, without layer and direction, and shapes of one direction's parameters."""
        kind, size = self.kind(direction), self.cell_size(direction)
        shapes = kind.parameter_shapes(size)
        if self.initial_state:
            shapes |= {initial_name(part.name): (part.width,) for part in kind.parts(size)}
        return shapes


def initial_name(part: str) -> str:
    """The parameter that a part of the state begins as."""
    return f"initial_{part}"
