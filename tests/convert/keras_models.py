"""Files of Keras models, written by h5py as Keras writes them.

Layouts after keras-team/keras: `keras/src/legacy/saving/legacy_h5_format.py` (whole models as `.h5`: attributes
`keras_version`, `backend` and `model_config`, weights under `model_weights/<layer>` with the attribute `weight_names`)
and `keras/src/saving/saving_lib.py` (`.keras`: a zip archive of metadata.json, config.json and model.weights.h5, arrays
at `layers/<class>_<number>/cell/vars/0`).
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Config = dict[str, Any]
Arrays = Sequence[np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer and its arrays in Keras's order; those of a Bidirectional are forward, then backward."""

    kind: str
    config: Config = field(default_factory=dict)
    arrays: Arrays = ()

    @property
    def name(self) -> str:
        return str(self.config["name"])

    def described(self) -> Config:
        return {"class_name": self.kind, "config": self.config}


_RECURRENT = {
    "use_bias": True,
    "return_sequences": False,
    "return_state": False,
    "go_backwards": False,
    "stateful": False,
    "unroll": False,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
    "implementation": 2,
    "trainable": True,
}


def recurrent(kind: str, name: str, arrays: Arrays = (), **config: Any) -> Layer:
    """LSTM, GRU or SimpleRNN with the arguments that Keras writes, `config` over them."""
    own: Config = {"activation": "tanh", **_RECURRENT}
    if kind != "SimpleRNN":
        own["recurrent_activation"] = "sigmoid"
    if kind == "GRU":
        own["reset_after"] = True
    if kind == "LSTM":
        own["unit_forget_bias"] = True
    return Layer(kind=kind, config={"name": name, **own, **config}, arrays=arrays)


def bidirectional(
    name: str, inner: Layer, arrays: Arrays, merge_mode: str | None = "concat", **config: Any
) -> Layer:
    """A wrapper around `inner`."""
    own = {"name": name, "layer": inner.described(), "merge_mode": merge_mode, **config}
    return Layer(kind="Bidirectional", config=own, arrays=arrays)


def random_arrays(rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Weights of a usual size."""
    return [rng.normal(scale=0.5, size=shape).astype(np.float32) for shape in shapes]


def sequential(layers: Sequence[Layer]) -> Config:
    """The architecture of keras.Sequential."""
    return {
        "class_name": "Sequential",
        "config": {"name": "model", "layers": [each.described() for each in layers]},
    }


def functional(layers: Sequence[Layer], *, keras: int) -> Config:
    """The architecture of a functional model, each layer on the one before it, as Keras 2 or 3 writes it."""
    entries: list[Config] = []
    for below, layer in zip([None, *layers], layers, strict=False):
        nodes: list[Any] = []
        if below is not None and keras == 3:
            history = {"shape": [None, None, 1], "dtype": "float32", "keras_history": [below.name, 0, 0]}
            tensor = {"class_name": "__keras_tensor__", "config": history}
            nodes = [{"args": [tensor], "kwargs": {"training": False, "mask": None}}]
        elif below is not None:
            nodes = [[[below.name, 0, 0, {}]]]
        entries.append({**layer.described(), "name": layer.name, "inbound_nodes": nodes})
    ends: list[Any] = [[layers[0].name, 0, 0], [layers[-1].name, 0, 0]]
    first, last = ends if keras == 3 else ([ends[0]], [ends[1]])
    config = {"name": "model", "layers": entries, "input_layers": first, "output_layers": last}
    return {"class_name": "Functional" if keras == 3 else "Model", "config": config}


def write_h5(
    path: Path, layers: Sequence[Layer], version: str = "2.0.5", architecture: Config | None = None
) -> Path:
    """A whole model as `.h5`."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version.encode()
        file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps(architecture or sequential(layers)).encode()
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = weights.create_group(layer.name)
            names = [f"{layer.name}/{part}:0" for part in _names(layer)]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, layer.arrays, strict=True):
                group.create_dataset(name, data=array)
    return path


def write_keras(
    path: Path,
    layers: Sequence[Layer],
    version: str = "3.11.2",
    architecture: Config | None = None,
    prefix: str = "layers",
) -> Path:
    """A whole model as `.keras`."""
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        used: dict[str, int] = {}
        for layer in layers:
            kind = _snake_case(layer.kind)
            number = used[kind] = used.get(kind, -1) + 1
            place = f"{prefix}/{kind}_{number}" if number else f"{prefix}/{kind}"
            file.create_group(f"{place}/vars").attrs["name"] = layer.name
            for path_in_layer, arrays in _parts(layer).items():
                group = file.require_group(f"{place}/{path_in_layer}/vars".replace("//", "/"))
                for index, array in enumerate(arrays):
                    group[str(index)] = array
    contents: dict[str, str | bytes] = {
        "metadata.json": json.dumps({"keras_version": version, "date_saved": "2026-11-01@12:00:00"}),
        "config.json": json.dumps(architecture or sequential(layers)),
        "model.weights.h5": held.getvalue(),
    }
    write_zip(path, contents)
    return path


def write_zip(path: Path, contents: Mapping[str, str | bytes]) -> None:
    """A zip archive of these entries."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def _names(layer: Layer) -> list[str]:
    if layer.kind == "Embedding":
        return ["embeddings"]
    if layer.kind in ("Dense", "TimeDistributed"):
        return ["kernel", "bias"][: len(layer.arrays)]
    names = ["kernel", "recurrent_kernel", "bias"]
    if layer.kind != "Bidirectional":
        return names[: len(layer.arrays)]
    each = names[: len(layer.arrays) // 2]
    return [f"{way}_inner/{name}" for way in ("forward", "backward") for name in each]


def _parts(layer: Layer) -> dict[str, Arrays]:
    half = len(layer.arrays) // 2
    return {
        "Bidirectional": {
            "forward_layer/cell": layer.arrays[:half],
            "backward_layer/cell": layer.arrays[half:],
        },
        "Embedding": {"": layer.arrays},
        "Dense": {"": layer.arrays},
        "TimeDistributed": {"layer": layer.arrays},
    }.get(layer.kind, {"cell": layer.arrays} if layer.arrays else {})


def _snake_case(name: str) -> str:
    known = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "simple_rnn"}
    return known.get(name) or re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
