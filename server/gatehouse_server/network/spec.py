"""What a network consists of: its dimensions, and the parameters that follow from them."""

from dataclasses import dataclass
from typing import Literal, get_args

from gatehouse_server.network.cell import CellSize
from gatehouse_server.network.registry import CELLS

HeadKind = Literal["softmax", "sigmoid", "linear"]
_MERGES = ("concat", "sum", "average", "multiply")
_POOLINGS = ("last", "mean", "max")


def _check_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: expected 1 or more, got {size}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInputSpec:
    """Token ids 0..V-1, embedded in E dimensions."""

    vocabulary_size: int
    embedding_size: int

    def __post_init__(self) -> None:
        _check_positive(vocabulary_size=self.vocabulary_size, embedding_size=self.embedding_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureInputSpec:
    """Vectors of `size` numbers."""

    size: int

    def __post_init__(self) -> None:
        _check_positive(size=self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentSpec:
    """A stack of recurrent layers. `merge` joins the two directions after every layer, if there are two."""

    cell: str
    input_size: int
    hidden_size: int
    layers: int = 1
    projection_size: int = 0
    bias: bool = True
    bidirectional: bool = False
    merge: str = "concat"

    def __post_init__(self) -> None:
        _check_choice("cell", self.cell, tuple(CELLS))
        _check_choice("merge", self.merge, _MERGES)
        _check_positive(input_size=self.input_size, hidden_size=self.hidden_size, layers=self.layers)
        if self.projection_size and not CELLS[self.cell].projects:
            raise ValueError(f"projection_size: expected 0 for cell {self.cell}, got {self.projection_size}")
        if not 0 <= self.projection_size < self.hidden_size:
            raise ValueError(
                f"projection_size: expected 0..{self.hidden_size - 1}, less than hidden_size, "
                f"got {self.projection_size}"
            )

    @property
    def directions(self) -> int:
        """D: 1 or 2."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """R: width of the top layer's output, directions merged."""
        size = self.projection_size or self.hidden_size
        return size * self.directions if self.merge == "concat" else size

    def cell_size(self, layer: int) -> CellSize:
        """The dimensions of either direction of one layer."""
        return CellSize(
            input_size=self.output_size if layer else self.input_size,
            hidden_size=self.hidden_size,
            projection_size=self.projection_size,
            bias=self.bias,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSpec:
    """What becomes of the recurrent output: `size` numbers. `tied`: the weights are the embedding's."""

    kind: HeadKind
    size: int
    tied: bool = False
    bias: bool = True

    def __post_init__(self) -> None:
        _check_choice("head kind", self.kind, get_args(HeadKind))
        _check_positive(size=self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """Input, recurrent stack, pooling over whole sequences (none: an output at every step) and head."""

    input: TokenInputSpec | FeatureInputSpec
    recurrent: RecurrentSpec
    pooling: tuple[str, ...] = ()
    head: HeadSpec | None = None

    def __post_init__(self) -> None:
        for pooling in self.pooling:
            _check_choice("pooling", pooling, _POOLINGS)
        if len(set(self.pooling)) != len(self.pooling):
            raise ValueError(f"pooling: expected each kind once, got {', '.join(self.pooling)}")
        width = self.input.embedding_size if isinstance(self.input, TokenInputSpec) else self.input.size
        if width != self.recurrent.input_size:
            raise ValueError(
                f"recurrent input_size: expected the input's {width}, got {self.recurrent.input_size}"
            )
        if self.head is not None and self.head.tied:
            self._check_tied(self.head)

    def _check_tied(self, head: HeadSpec) -> None:
        if not isinstance(self.input, TokenInputSpec):
            raise ValueError("tied head: expected token input, got features")
        expected = (self.input.vocabulary_size, self.input.embedding_size)
        if expected != (head.size, self.summary_size):
            raise ValueError(
                f"tied head: expected the embedding's {expected}, got {(head.size, self.summary_size)} "
                "(head size, width of what the head reads)"
            )

    @property
    def summary_size(self) -> int:
        """Width of what the head reads: R, times the number of poolings if there are any."""
        return self.recurrent.output_size * max(1, len(self.pooling))


def parameter_shapes(spec: NetworkSpec) -> dict[str, tuple[int, ...]]:
    """Names, as torch's modules `embedding`, `rnn` and `head` give them, and shapes of all parameters."""
    shapes: dict[str, tuple[int, ...]] = {}
    if isinstance(spec.input, TokenInputSpec):
        shapes["embedding.weight"] = (spec.input.vocabulary_size, spec.input.embedding_size)
    cell = CELLS[spec.recurrent.cell]
    for layer in range(spec.recurrent.layers):
        for direction in range(spec.recurrent.directions):
            for name, shape in cell.parameter_shapes(spec.recurrent.cell_size(layer)).items():
                shapes[recurrent_name(name, layer, direction)] = shape
    if spec.head is not None:
        if not spec.head.tied:
            shapes["head.weight"] = (spec.head.size, spec.summary_size)
        if spec.head.bias:
            shapes["head.bias"] = (spec.head.size,)
    return shapes


def recurrent_name(name: str, layer: int, direction: int) -> str:
    """torch's name of a recurrent parameter; direction 1 is the reverse one."""
    return f"rnn.{name}_l{layer}{'_reverse' if direction else ''}"
