"""What a network consists of: its dimensions, and the parameters that follow from them."""

from dataclasses import dataclass
from typing import Literal, Self, get_args

from gatehouse_server.network.cell_options import DEFAULT_OPTIONS, CellOptions
from gatehouse_server.network.checks import check_choice, check_positive
from gatehouse_server.network.layer_spec import Direction, LayerSpec, Merge
from gatehouse_server.network.state import StateLayout, StatePart

HeadKind = Literal["softmax", "sigmoid", "linear"]
InitialActivation = Literal["tanh", "linear"]
_POOLINGS = ("last", "mean", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInputSpec:
    """Token ids 0..V-1, embedded in E dimensions."""

    vocabulary_size: int
    embedding_size: int

    def __post_init__(self) -> None:
        check_positive(vocabulary_size=self.vocabulary_size, embedding_size=self.embedding_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureInputSpec:
    """Vectors of `size` numbers."""

    size: int

    def __post_init__(self) -> None:
        check_positive(size=self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentSpec:
    """A stack of recurrent layers, the lowest first. Each reads what the one below it hands on."""

    layers: tuple[LayerSpec, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers: expected at least one")
        for number, (below, above) in enumerate(zip(self.layers, self.layers[1:], strict=False), start=1):
            if above.input_size != below.output_size:
                raise ValueError(
                    f"layer {number} input_size: expected {below.output_size}, as the layer below hands on, "
                    f"got {above.input_size}"
                )

    @classmethod
    def uniform(
        cls,
        *,
        cell: str,
        input_size: int,
        hidden_size: int,
        layers: int = 1,
        projection_size: int = 0,
        bias: bool = True,
        bidirectional: bool = False,
        merge: Merge = "concat",
        options: CellOptions = DEFAULT_OPTIONS,
    ) -> Self:
        """So many layers of one kind, as the arguments of `torch.nn.LSTM` say it."""
        check_positive(layers=layers)
        made: list[LayerSpec] = []
        for _ in range(layers):
            made.append(
                LayerSpec(
                    cell=cell,
                    input_size=made[-1].output_size if made else input_size,
                    hidden_size=hidden_size,
                    projection_size=projection_size,
                    bias=bias,
                    direction="both" if bidirectional else "forward",
                    merge=merge,
                    options=options,
                )
            )
        return cls(layers=tuple(made))

    @property
    def input_size(self) -> int:
        """Width of what the lowest layer reads."""
        return self.layers[0].input_size

    @property
    def output_size(self) -> int:
        """R: width of the top layer's output, directions merged."""
        return self.layers[-1].output_size

    @property
    def causal(self) -> bool:
        """Whether an output depends on nothing that comes later: only then can a sequence grow step by step."""
        return all(layer.direction == "forward" for layer in self.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSpec:
    """What becomes of the recurrent output: `size` numbers. `tied`: the weights are the embedding's."""

    kind: HeadKind
    size: int
    tied: bool = False
    bias: bool = True

    def __post_init__(self) -> None:
        check_choice("head kind", self.kind, get_args(HeadKind))
        check_positive(size=self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialSpec:
    """A dense layer that makes the state at position 0 of a vector of `size` numbers."""

    size: int
    activation: InitialActivation = "tanh"

    def __post_init__(self) -> None:
        check_positive(size=self.size)
        check_choice("initial activation", self.activation, get_args(InitialActivation))


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """Input, recurrent stack, pooling over whole sequences (none: an output at every step) and head.

    `initial`: how a vector sets the state at position 0, of networks of one direction that allow it.
    """

    input: TokenInputSpec | FeatureInputSpec
    recurrent: RecurrentSpec
    pooling: tuple[str, ...] = ()
    head: HeadSpec | None = None
    initial: InitialSpec | None = None

    def __post_init__(self) -> None:
        if self.initial is not None and not self.recurrent.causal:
            raise ValueError(
                "initial: expected layers of one direction, forward, since only they have a state"
            )
        for pooling in self.pooling:
            check_choice("pooling", pooling, _POOLINGS)
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
    for number, layer in enumerate(spec.recurrent.layers):
        for direction in layer.directions:
            for name, shape in layer.parameter_shapes(direction).items():
                shapes[recurrent_name(name, number, direction)] = shape
    if spec.head is not None:
        if not spec.head.tied:
            shapes["head.weight"] = (spec.head.size, spec.summary_size)
        if spec.head.bias:
            shapes["head.bias"] = (spec.head.size,)
    if spec.initial is not None:
        width = state_layout(spec.recurrent).width
        shapes |= {"initial.weight": (width, spec.initial.size), "initial.bias": (width,)}
    return shapes


def state_layout(spec: RecurrentSpec) -> StateLayout:
    """The state between steps. Raises ValueError for a stack with a reverse direction, which has none."""
    if not spec.causal:
        raise ValueError("a bidirectional network has no state between steps: it reads whole sequences")
    parts: list[StatePart] = []
    output_part = 0
    for number, layer in enumerate(spec.layers):
        output_part = len(parts)
        own = layer.kind("forward").parts(layer.cell_size("forward"))
        parts.extend(StatePart(name=f"layer{number}.{part.name}", width=part.width) for part in own)
    return StateLayout(parts=tuple(parts), output_part=output_part)


def recurrent_name(name: str, layer: int, direction: Direction) -> str:
    """torch's name of a recurrent parameter."""
    return f"rnn.{name}_l{layer}{'_reverse' if direction == 'reverse' else ''}"
