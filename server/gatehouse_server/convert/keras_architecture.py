"""The layers of a Keras model in the order in which data passes them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gatehouse_server.convert.port import ConversionError

_CHAIN = "convert a model whose layers follow each other, with one input and one output"
_MODELS = {"Functional", "Model"}
_MOST_LAYERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasLayer:
    """One layer as its architecture says: class, name, and the arguments it was made with."""

    kind: str
    name: str
    config: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"

    def inner(self, key: str) -> "KerasLayer | None":
        """The layer that this one wraps, under `key`; None where there is none. Raises ConversionError."""
        wrapped = self.config.get(key)
        return None if wrapped is None else _layer(wrapped, f"{self.name}, {key}")

    def flag(self, key: str, default: bool = False) -> bool:
        """An argument that is true or false."""
        value = self.config.get(key, default)
        if not isinstance(value, bool):
            raise ConversionError(f"layer {self}: expected {key} to be true or false, got {value!r}", _SAVE)
        return value

    def size(self, key: str) -> int:
        """An argument that is a dimension."""
        value = self.config.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
            raise ConversionError(f"layer {self}: expected {key} to be a dimension, got {value!r}", _SAVE)
        return value


_SAVE = 'save the whole model with model.save("model.keras")'


def layers_in_order(architecture: Mapping[str, Any]) -> list[KerasLayer]:
    """From the input to the output. Raises ConversionError for a model that branches or is no model."""
    kind, config = str(architecture.get("class_name")), architecture.get("config")
    if kind == "Sequential":
        # Before 2.2.3 the config of a Sequential was the list itself.
        entries = config.get("layers") if isinstance(config, dict) else config
        return [_layer(entry, f"layer {number}") for number, entry in enumerate(_listed(entries))]
    if kind in _MODELS and isinstance(config, dict):
        return list(reversed(list(_backwards(config))))
    raise ConversionError(
        f"expected a Sequential or a functional model, got {kind[:60]!r}, whose layers no file tells",
        "build the same layers as keras.Sequential, copy the weights, and save that",
    )


def _layer(entry: Any, told: str) -> KerasLayer:
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        raise ConversionError(f"{told}: is no layer", _SAVE)
    config = entry["config"]
    name = config.get("name") or entry.get("name")
    if not isinstance(entry.get("class_name"), str) or not isinstance(name, str):
        raise ConversionError(f"{told}: is a layer without class or name", _SAVE)
    return KerasLayer(kind=_kind(entry), name=name, config=config)


def _kind(entry: Mapping[str, Any]) -> str:
    """The class, with where it comes from if that is not Keras: somebody's own LSTM may compute anything."""
    kind, registered = str(entry["class_name"]), entry.get("registered_name")
    if isinstance(registered, str) and registered.rpartition(">")[0].lower() not in ("", "keras"):
        return registered
    module = entry.get("module")
    if isinstance(module, str) and not {"keras", "tf_keras"} & set(module.split(".")[:2]):
        return f"{module}.{kind}"
    return kind


def _listed(entries: Any) -> list[Any]:
    if not isinstance(entries, list) or not 0 < len(entries) <= _MOST_LAYERS:
        raise ConversionError("the architecture has no list of layers", _SAVE)
    return entries


def _backwards(config: Mapping[str, Any]) -> Iterator[KerasLayer]:
    """Layers of a functional model from its output to its input."""
    entries: dict[str, Any] = {}
    for number, entry in enumerate(_listed(config.get("layers"))):
        entries[_layer(entry, f"layer {number}").name] = entry
    outputs = list(_histories(config.get("output_layers")))
    if len(outputs) != 1:
        raise ConversionError(f"the model has {len(outputs)} outputs", _CHAIN)
    name, seen = outputs[0], set[str]()
    while True:
        if name in seen or name not in entries:
            raise ConversionError(f"the layers before {name} do not lead to an input", _CHAIN)
        seen.add(name)
        layer = _layer(entries[name], name)
        yield layer
        if layer.kind == "InputLayer":
            return
        name = _source(layer, entries[name])


def _source(layer: KerasLayer, entry: Mapping[str, Any]) -> str:
    """The one layer that `layer` reads."""
    nodes = entry.get("inbound_nodes")
    if not isinstance(nodes, list) or len(nodes) != 1:
        uses = len(nodes) if isinstance(nodes, list) else 0
        raise ConversionError(f"layer {layer} is used {uses} times", _CHAIN)
    node = nodes[0]
    if isinstance(node, dict):  # Keras 3
        read, given = list(_histories(node.get("args"))), node.get("kwargs")
    else:
        read = list(_histories(node))
        given = next((each for each in _flat(node) if isinstance(each, dict)), None)
    if len(read) != 1:
        raise ConversionError(f"layer {layer} reads {len(read)} tensors", _CHAIN)
    for name, value in (given or {}).items() if isinstance(given, dict) else ():
        # A mask comes from a layer that says of itself what it masks.
        if name != "mask" and value not in (None, False):
            raise ConversionError(f"layer {layer} is called with {name}", "call it with its input alone")
    return read[0]


def _histories(value: Any) -> Iterator[str]:
    """The names of the layers whose tensors `value` holds: ["lstm", 0, 0, {}] in Keras 2, with a class in Keras 3."""
    if isinstance(value, dict):
        history = (
            value.get("config", {}).get("keras_history") if isinstance(value.get("config"), dict) else None
        )
        if isinstance(history, list) and history and isinstance(history[0], str):
            yield history[0]
    elif isinstance(value, list):
        if value and isinstance(value[0], str):
            yield value[0]
        else:
            for each in value:
                yield from _histories(each)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _flat(each)
    else:
        yield value
