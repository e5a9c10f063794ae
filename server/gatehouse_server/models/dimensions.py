"""The letters that formulas are written in, and what they stand for in a network."""

from dataclasses import dataclass

from gatehouse_server.network.spec import NetworkSpec, TokenInputSpec, state_layout

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """A letter and the size that it stands for."""

    symbol: str
    size: int


class Letters:
    """The letters of all pages: V vocabulary, E embedding, N features, H hidden, P projection, O outputs of the head,
    I values of the vector that sets the state, S values of the state.

    Where layers differ in size, H and P have the number of their layer below them: H₀ is the lowest layer's.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        self._spec = spec
        layers = spec.recurrent.layers
        self._hidden_differ = len({layer.hidden_size for layer in layers}) > 1
        self._projections_differ = (
            len({layer.projection_size for layer in layers if layer.projection_size}) > 1
        )

    def hidden(self, layer: int) -> str:
        """H of a layer."""
        return _numbered("H", layer, self._hidden_differ)

    def step(self, layer: int) -> str:
        """What one direction of a layer hands on: P with a projection, else H."""
        if self._spec.recurrent.layers[layer].projection_size:
            return _numbered("P", layer, self._projections_differ)
        return self.hidden(layer)

    def handed_on(self, layer: int) -> str:
        """What a layer hands on: `2·H` where two directions are put side by side."""
        own = self._spec.recurrent.layers[layer]
        step = self.step(layer)
        return step if own.output_size == own.step_size else f"2·{step}"

    def read(self, layer: int) -> str:
        """What a layer reads: E or N, or what the layer below hands on."""
        if layer:
            return self.handed_on(layer - 1)
        return "E" if isinstance(self._spec.input, TokenInputSpec) else "N"

    @property
    def head(self) -> str:
        """Outputs of the head: V where they are the input's tokens."""
        source, head = self._spec.input, self._spec.head
        tokens = (
            head is not None
            and isinstance(source, TokenInputSpec)
            and head.kind == "softmax"
            and not self._spec.pooling
            and head.size == source.vocabulary_size
        )
        return "V" if tokens else "O"

    def dimensions(self) -> tuple[Dimension, ...]:
        """What each letter stands for; those that the network has no use for are left out."""
        spec = self._spec
        sizes: dict[str, int] = {}
        if isinstance(spec.input, TokenInputSpec):
            sizes |= {"V": spec.input.vocabulary_size, "E": spec.input.embedding_size}
        else:
            sizes["N"] = spec.input.size
        for number, layer in enumerate(spec.recurrent.layers):
            sizes[self.hidden(number)] = layer.hidden_size
            sizes[self.step(number)] = layer.step_size
        if spec.head is not None:
            sizes[self.head] = spec.head.size
        if spec.initial is not None:
            sizes |= {"I": spec.initial.size, "S": state_layout(spec.recurrent).width}
        return tuple(Dimension(symbol=symbol, size=size) for symbol, size in sizes.items())


def _numbered(letter: str, layer: int, differ: bool) -> str:
    return letter + str(layer).translate(_SUBSCRIPTS) if differ else letter
