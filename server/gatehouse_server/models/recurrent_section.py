"""The section `recurrent` of config.json: layers of one kind, or a list of different ones."""

from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from gatehouse_server.models.section import Section, Size
from gatehouse_server.network.cell_options import Activation, CellOptions, GateActivation, Reset
from gatehouse_server.network.layer_spec import LayerDirection, LayerSpec, Merge
from gatehouse_server.network.spec import RecurrentSpec

_MOST_LAYERS = 64


class Computed(Section):
    """What a cell computes beyond its name; see `CellOptions`."""

    gate_activation: GateActivation | None = None
    activation: Activation | None = None
    output_activation: Activation | None = None
    peepholes: bool | None = None
    coupled: bool | None = None
    reset: Reset | None = None
    gate_clip: Annotated[float, Field(gt=0)] | None = None
    cell_clip: Annotated[float, Field(gt=0)] | None = None
    options: dict[str, bool | int | float | str] | None = None

    def told(self) -> dict[str, Any]:
        """The options that are given, as the arguments of `CellOptions`."""
        given = {
            name: getattr(self, name) for name in Computed.model_fields if getattr(self, name) is not None
        }
        if "options" in given:
            given["extra"] = tuple(sorted(given.pop("options").items()))
        return given


class Layer(Computed):
    """One layer of several; what it leaves out is as the section says."""

    cell: Annotated[str, Field(min_length=1)] | None = None
    hidden_size: Size | None = None
    projection_size: Annotated[int, Field(ge=0)] | None = None
    bias: bool | None = None
    bidirectional: bool | None = None
    direction: LayerDirection | None = None
    merge: Merge | None = None
    initial_state: bool | None = None
    reverse: Computed | None = None

    @model_validator(mode="after")
    def _one_word_for_directions(self) -> Self:
        if self.bidirectional is not None and self.direction is not None:
            raise ValueError("expected bidirectional or direction, not both")
        return self

    @property
    def given_direction(self) -> LayerDirection | None:
        """The direction, in whichever word it was given."""
        if self.bidirectional is not None:
            return "both" if self.bidirectional else "forward"
        return self.direction


def _number_or_list(layers: object) -> str:
    return "list" if isinstance(layers, list | tuple) else "number"


class Recurrent(Layer):
    """The recurrent layers. `layers`: how many of this kind, or what each has of its own."""

    cell: Annotated[str, Field(min_length=1)]
    input_size: Size
    layers: Annotated[
        Annotated[int, Field(ge=1, le=_MOST_LAYERS), Tag("number")]
        | Annotated[tuple[Layer, ...], Field(min_length=1, max_length=_MOST_LAYERS), Tag("list")],
        Discriminator(_number_or_list),
    ] = 1

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        self.spec()
        return self

    def spec(self) -> RecurrentSpec:
        """The same as the network layer takes it. Raises ValueError for what does not fit together."""
        own = [Layer()] * self.layers if isinstance(self.layers, int) else self.layers
        layers: list[LayerSpec] = []
        for number, layer in enumerate(own):
            try:
                layers.append(self._layer(layer, layers[-1].output_size if layers else self.input_size))
            except ValueError as error:
                raise ValueError(
                    str(error) if isinstance(self.layers, int) else f"layers[{number}]: {error}"
                ) from None
        return RecurrentSpec(layers=tuple(layers))

    def _layer(self, own: Layer, input_size: int) -> LayerSpec:
        hidden_size = _first(own.hidden_size, self.hidden_size)
        if hidden_size is None:
            raise ValueError("hidden_size: expected a number, here or for all layers, got none")
        direction = _first(own.given_direction, self.given_direction, "forward")
        merge = _first(own.merge, self.merge)
        if (
            merge is not None
            and direction != "both"
            and (own.merge is not None or isinstance(self.layers, int))
        ):
            raise ValueError("merge is for bidirectional layers only")
        computed = self.told() | own.told()
        reverse = _first(own.reverse, self.reverse)
        if reverse is not None and direction == "forward":
            raise ValueError("reverse is for layers with a reverse direction only")
        return LayerSpec(
            cell=_first(own.cell, self.cell),
            input_size=input_size,
            hidden_size=hidden_size,
            projection_size=_first(own.projection_size, self.projection_size, 0),
            bias=_first(own.bias, self.bias, True),
            direction=direction,
            merge=_first(merge, "concat"),
            options=CellOptions(**computed),
            reverse_options=None if reverse is None else CellOptions(**(computed | reverse.told())),
            initial_state=_first(own.initial_state, self.initial_state, False),
        )


def _first(*values: Any) -> Any:
    """The first that is given."""
    return next((value for value in values if value is not None), None)
