"""Where Keras keeps the weights of a layer: by class and number (`.keras`), or by name and order (`.h5`)."""

import re
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gatehouse_server.convert.hdf5 import Hdf5File
from gatehouse_server.convert.port import ConversionError

Shape = tuple[int | None, ...]
Array = NDArray[np.float32]

_PREFIXES = ("layers", "_layer_checkpoint_dependencies")
# Variables of layers that are no weights: the state of random generators, and that of stateful layers.
_NO_WEIGHTS = re.compile(r"(seed_generator_state|rnn_state|state)[_\d]*(:\d+)?$")
_OTHER_MODEL = "save architecture and weights of one model"


class KerasWeights(Protocol):
    """The weights of one file."""

    def read(self, layer: str, parts: Sequence[tuple[str, Sequence[Shape]]]) -> list[list[Array]]:
        """The arrays of the layer of that name. `parts`: of each sub-layer with weights of its own, its path (as
        "cell", "forward_layer/cell", "" for the layer itself) and the shapes of its arrays in Keras's order.

        Raises ConversionError where they are missing, more, or of other shapes.
        """


class PathWeights:
    """`layers/lstm_1/cell/vars/0`: the path holds the class of the layer and its number among those of that class."""

    def __init__(self, file: Hdf5File, layers: Any) -> None:
        """layers: those of the architecture, in its order."""
        self._file = file
        self._prefix = next((prefix for prefix in _PREFIXES if file.has(prefix)), _PREFIXES[0])
        self._paths: dict[str, str] = {}
        used: dict[str, int] = {}
        for layer in layers if isinstance(layers, list) else ():
            if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
                continue
            kind = snake_case(str(layer.get("class_name")))
            number = used.get(kind, -1) + 1
            used[kind] = number
            name = layer["config"].get("name") or layer.get("name")
            self._paths[str(name)] = f"{kind}_{number}" if number else kind

    def read(self, layer: str, parts: Sequence[tuple[str, Sequence[Shape]]]) -> list[list[Array]]:
        """See `KerasWeights`."""
        if layer not in self._paths:
            raise ConversionError(f"{self._file.label}: has no weights of layer {layer}", _OTHER_MODEL)
        base = f"{self._prefix}/{self._paths[layer]}"
        self._check_name(base, layer)
        return [self._part(f"{base}/{path}/vars".replace("//", "/"), shapes) for path, shapes in parts]

    def _check_name(self, base: str, layer: str) -> None:
        """Newer versions write the layer's name beside its variables."""
        name = self._file.attribute(f"{base}/vars", "name")
        if name is not None and name != layer:
            raise ConversionError(
                f"{self._file.label}: {base} are the weights of layer {name}, not of {layer}", _OTHER_MODEL
            )

    def _part(self, path: str, shapes: Sequence[Shape]) -> list[Array]:
        names = self._file.names(path)
        if len(names) != len(shapes):
            raise _wrong_number(self._file.label, path, len(shapes), len(names))
        return [self._file.numbers(f"{path}/{number}", shape) for number, shape in enumerate(shapes)]


class LegacyWeights:
    """`model_weights/lstm_1`, whose attribute `weight_names` names its arrays in Keras's order."""

    def __init__(self, file: Hdf5File, root: str) -> None:
        self._file, self._root = file, root

    def read(self, layer: str, parts: Sequence[tuple[str, Sequence[Shape]]]) -> list[list[Array]]:
        """See `KerasWeights`."""
        group = f"{self._root}/{layer}"
        names = [
            name
            for name in self._file.text_list(group, "weight_names") or ()
            if not _NO_WEIGHTS.search(name.rsplit("/", 1)[-1])
        ]
        wanted = [shape for _, shapes in parts for shape in shapes]
        if len(names) != len(wanted):
            raise _wrong_number(self._file.label, group, len(wanted), len(names))
        arrays = iter(
            [self._file.numbers(f"{group}/{name}", shape) for name, shape in zip(names, wanted, strict=True)]
        )
        return [[next(arrays) for _ in shapes] for _, shapes in parts]


def snake_case(name: str) -> str:
    """A class's name as Keras writes it in paths: SimpleRNN is simple_rnn."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _wrong_number(label: str, path: str, expected: int, got: int) -> ConversionError:
    return ConversionError(f"{label}: expected {expected} arrays in {path}, got {got}", _OTHER_MODEL)
