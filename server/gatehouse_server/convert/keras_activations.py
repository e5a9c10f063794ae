"""Activations by Keras's names, as far as cells and heads of ours compute them."""

from typing import Any, cast, get_args

from gatehouse_server.convert.keras_architecture import KerasLayer
from gatehouse_server.convert.port import ConversionError
from gatehouse_server.network.cell_options import Activation, GateActivation
from gatehouse_server.network.spec import HeadKind


def activation_of(layer: KerasLayer, key: str) -> Activation:
    """Of a candidate or of a simple cell. Raises ConversionError for another."""
    name = activation_name(layer, key)
    if name not in get_args(Activation):
        raise _refused(layer, key, name, get_args(Activation))
    return cast("Activation", name)


def gate_activation_of(layer: KerasLayer, key: str, version: int | None) -> GateActivation:
    """Of gates. `hard_sigmoid` has the slope 1/5 in Keras 2, 1/6 in Keras 3. Raises ConversionError for another."""
    name = activation_name(layer, key)
    if name == "sigmoid":
        return "sigmoid"
    if name != "hard_sigmoid":
        raise _refused(layer, key, name, ("sigmoid", "hard_sigmoid"))
    if version == 2:
        return "hard_sigmoid_fifth"
    if version == 3:
        return "hard_sigmoid"
    raise ConversionError(
        f"layer {layer}: {key} is hard_sigmoid, of which Keras 2 and 3 have different ones, and the file tells no "
        "version of either",
        "load the model and save it again with the Keras that made it",
    )


def head_kind_of(layer: KerasLayer, key: str = "activation") -> HeadKind | None:
    """Of a Dense layer or what follows it; None for one that no head computes."""
    name = activation_name(layer, key)
    kinds: dict[str | None, HeadKind] = {"softmax": "softmax", "sigmoid": "sigmoid", "linear": "linear"}
    return kinds.get(name)


def activation_name(layer: KerasLayer, key: str) -> str:
    """The name as the architecture tells it. None is `linear`, an object is told by its class."""
    if key not in layer.config and layer.kind != "Dense":
        raise ConversionError(
            f"layer {layer}: the architecture does not tell its {key}", "save the model again"
        )
    value: Any = layer.config.get(key)
    if value is None:
        return "linear"
    if isinstance(value, dict):
        # Keras may write {"class_name": "function", "config": "tanh"}; a function of somebody's own is registered.
        known = value.get("registered_name") in (None, "function", value.get("config"))
        plain = value.get("class_name") == "function" and isinstance(value.get("config"), str) and known
        value = value["config"] if plain else value.get("registered_name") or value.get("class_name")
    return str(value)


def _refused(layer: KerasLayer, key: str, name: str, known: tuple[str, ...]) -> ConversionError:
    return ConversionError(
        f"layer {layer}: {key} {name!r} is not computed by any cell", f"only {', '.join(known)} are"
    )
