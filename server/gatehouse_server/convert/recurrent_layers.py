"""The recurrent layers that a source found, as the section `recurrent` of config.json and its parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from torch import Tensor

from gatehouse_server.convert.port import ConversionError
from gatehouse_server.network.cell_options import CellOptions
from gatehouse_server.network.layer_spec import Direction, LayerDirection, Merge
from gatehouse_server.network.spec import recurrent_name


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDirection:
    """One direction of a layer. `parameters`: by the names of docs/model-format.md, without `rnn.` and number.

    `initial`: what parts of the state begin as, by the part's name; those that are left out begin as zeros.
    """

    cell: str
    input_size: int
    hidden_size: int
    options: CellOptions
    parameters: Mapping[str, Tensor]
    initial: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def bias(self) -> bool:
        """Whether it has biases."""
        return "bias_ih" in self.parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLayer:
    """One layer: one direction or both. `name` is the source's, for people."""

    name: str
    forward: FoundDirection | None = None
    reverse: FoundDirection | None = None
    merge: Merge = "concat"

    @property
    def directions(self) -> dict[Direction, FoundDirection]:
        """Those that it has, in the order in which their outputs are joined."""
        found: dict[Direction, FoundDirection] = {}
        if self.forward is not None:
            found["forward"] = self.forward
        if self.reverse is not None:
            found["reverse"] = self.reverse
        return found

    @property
    def direction(self) -> LayerDirection:
        """In the words of config.json."""
        if self.forward is not None and self.reverse is not None:
            return "both"
        return "forward" if self.forward is not None else "reverse"

    @property
    def output_size(self) -> int:
        """Values per step that it hands on."""
        doubled = self.direction == "both" and self.merge == "concat"
        return next(iter(self.directions.values())).hidden_size * (2 if doubled else 1)


def recurrent_section(layers: Sequence[FoundLayer]) -> tuple[dict[str, object], dict[str, Tensor]]:
    """The section and the parameters. Raises ConversionError for two directions that differ in what they may not."""
    told = [_told(layer) for layer in layers]
    parameters: dict[str, Tensor] = {}
    for number, layer in enumerate(layers):
        for direction, found in layer.directions.items():
            named = dict(found.parameters)
            if told[number].get("initial_state"):
                named |= _initial(found)
            parameters |= {recurrent_name(name, number, direction): each for name, each in named.items()}
    section: dict[str, object] = {
        "cell": told[0]["cell"],
        "input_size": next(iter(layers[0].directions.values())).input_size,
    }
    if all(each == told[0] for each in told):
        return section | told[0] | {"layers": len(layers)}, parameters
    return section | {"layers": told}, parameters


def _told(layer: FoundLayer) -> dict[str, object]:
    one = next(iter(layer.directions.values()))
    for what in ("cell", "input_size", "hidden_size", "bias"):
        values = {getattr(found, what) for found in layer.directions.values()}
        if len(values) > 1:
            raise ConversionError(
                f"{layer.name}: its two directions differ in {what} ({', '.join(sorted(map(str, values)))})",
                "both directions of a layer need the same",
            )
    told: dict[str, object] = {"cell": one.cell, "hidden_size": one.hidden_size, **one.options.changed()}
    if not one.bias:
        told["bias"] = False
    if layer.direction != "forward":
        told["direction"] = layer.direction
    if layer.direction == "both":
        told["merge"] = layer.merge
        assert layer.forward is not None
        assert layer.reverse is not None
        differing = _differing(layer.name, layer.forward.options, layer.reverse.options)
        if differing:
            told["reverse"] = differing
    if any(found.initial for found in layer.directions.values()):
        told["initial_state"] = True
    return told


def _differing(name: str, forward: CellOptions, reverse: CellOptions) -> dict[str, object]:
    """What the reverse direction computes otherwise."""
    differing: dict[str, object] = {}
    for option in fields(CellOptions):
        mine, other = getattr(forward, option.name), getattr(reverse, option.name)
        if mine == other:
            continue
        if option.name == "output_activation" and other is None:
            other = reverse.activation
        if other is None:
            raise ConversionError(
                f"{name}: its forward direction has {option.name} {mine}, its reverse direction none",
                "both directions of a layer need it",
            )
        differing[option.name] = other
    return differing


def _initial(found: FoundDirection) -> dict[str, Tensor]:
    parts = ("h", "c") if found.cell == "lstm" else ("h",)
    zeros = found.parameters["weight_hh"].new_zeros(found.hidden_size)
    return {f"initial_{part}": found.initial.get(part, zeros) for part in parts}
