"""LSTM, GRU, SimpleRNN and Bidirectional of Keras as layers of ours.

Keras multiplies from the other side, so matrices are transposed. Its gate order is i, f, c, o for an LSTM, as ours, and
z, r, h for a GRU, where ours is r, z, n. Only a GRU with `reset_after` has a second bias.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from gatehouse_server.convert.keras_activations import activation_of, gate_activation_of
from gatehouse_server.convert.keras_architecture import KerasLayer
from gatehouse_server.convert.keras_weights import Array, KerasWeights, Shape
from gatehouse_server.convert.port import ConversionError
from gatehouse_server.convert.recurrent_layers import FoundDirection, FoundLayer
from gatehouse_server.network.cell_options import CellOptions
from gatehouse_server.network.layer_spec import Merge

GATES: Final = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
_CELLS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}
_MERGES: dict[str, Merge] = {"concat": "concat", "sum": "sum", "ave": "average", "mul": "multiply"}


def is_recurrent(layer: KerasLayer) -> bool:
    """Whether it is one of those that are read here."""
    if layer.kind == "Bidirectional":
        inner = layer.inner("layer")
        return inner is not None and inner.kind in GATES
    return layer.kind in GATES


def directions_of(layer: KerasLayer) -> tuple[KerasLayer, ...]:
    """The layer itself, or the forward and the backward layer of a Bidirectional. Raises ConversionError."""
    if layer.kind != "Bidirectional":
        return (layer,)
    forward = layer.inner("layer")
    assert forward is not None
    backward = layer.inner("backward_layer") or KerasLayer(
        kind=forward.kind, name=f"backward_{forward.name}", config={**forward.config, "go_backwards": True}
    )
    if backward.kind not in GATES or forward.flag("go_backwards") or not backward.flag("go_backwards"):
        raise ConversionError(
            f"layer {layer}: its forward layer reads backwards, or its backward layer does not",
            "wrap a layer with go_backwards=False",
        )
    return forward, backward


def returns_steps(layer: KerasLayer) -> bool:
    """Whether it hands on every step; otherwise the last one. Raises ConversionError if it hands on its state too."""
    kinds = {part.flag("return_sequences") for part in directions_of(layer)}
    if len(kinds) > 1 or any(part.flag("return_state") for part in directions_of(layer)):
        raise ConversionError(
            f"layer {layer}: hands on its state, or different things in its two directions",
            "set return_state=False, and return_sequences alike",
        )
    if any(part.flag("time_major") for part in directions_of(layer)):
        raise ConversionError(f"layer {layer}: time_major has steps before sequences", "set time_major=False")
    return kinds.pop()


def read_layer(
    layer: KerasLayer, weights: KerasWeights, input_size: int | None, flipped: bool, version: int | None
) -> FoundLayer:
    """The layer with its weights. `flipped`: what it reads is in the opposite order of time.

    Raises ConversionError for what no cell of ours computes, and for weights that do not fit.
    """
    parts = directions_of(layer)
    paths = ("cell",) if len(parts) == 1 else ("forward_layer/cell", "backward_layer/cell")
    arrays = weights.read(
        layer.name, [(path, _shapes(part, input_size)) for path, part in zip(paths, parts, strict=True)]
    )
    found = [_direction(part, each, version) for part, each in zip(parts, arrays, strict=True)]
    if len(found) == 1:
        if flipped != layer.flag("go_backwards"):
            return FoundLayer(name=layer.name, reverse=found[0])
        return FoundLayer(name=layer.name, forward=found[0])
    merge = layer.config.get("merge_mode", "concat")
    if not isinstance(merge, str) or merge not in _MERGES:
        raise ConversionError(
            f"layer {layer}: merge_mode {merge!r} hands on two outputs", f"use one of {', '.join(_MERGES)}"
        )
    if flipped and merge == "concat":
        raise ConversionError(
            f"layer {layer}: reads the output of a layer with go_backwards, so its halves would change places",
            "use merge_mode sum, ave or mul there, or no go_backwards below it",
        )
    forward, reverse = reversed(found) if flipped else found
    return FoundLayer(name=layer.name, forward=forward, reverse=reverse, merge=_MERGES[merge])


def _shapes(layer: KerasLayer, input_size: int | None) -> Sequence[Shape]:
    units = layer.size("units")
    rows = GATES[layer.kind] * units
    shapes: list[Shape] = [(input_size, rows), (units, rows)]
    if layer.flag("use_bias", True):
        shapes.append((2, rows) if _resets_after(layer) else (rows,))
    return shapes


def _resets_after(layer: KerasLayer) -> bool:
    # Absent before Keras 2.1.3, which had the other kind alone.
    return layer.kind == "GRU" and layer.flag("reset_after")


def _direction(layer: KerasLayer, arrays: Sequence[Array], version: int | None) -> FoundDirection:
    units = layer.size("units")
    kernel, recurrent = arrays[0].T, arrays[1].T
    parameters = {"weight_ih": _ordered(layer, kernel), "weight_hh": _ordered(layer, recurrent)}
    if len(arrays) > 2:
        both = arrays[2] if arrays[2].ndim == 2 else np.stack([arrays[2], np.zeros_like(arrays[2])])
        parameters |= {"bias_ih": _ordered(layer, both[0]), "bias_hh": _ordered(layer, both[1])}
    return FoundDirection(
        cell=_CELLS[layer.kind],
        input_size=kernel.shape[1],
        hidden_size=units,
        options=_options(layer, version),
        parameters=parameters,
    )


def _options(layer: KerasLayer, version: int | None) -> CellOptions:
    activation = activation_of(layer, "activation")
    if layer.kind == "SimpleRNN":
        return CellOptions(activation=activation)
    gates = gate_activation_of(layer, "recurrent_activation", version)
    if layer.kind == "GRU" and not _resets_after(layer):
        return CellOptions(gate_activation=gates, activation=activation, reset="before")
    return CellOptions(gate_activation=gates, activation=activation)


def _ordered(layer: KerasLayer, rows: Array) -> Tensor:
    """Gates in our order: rows are those of all gates below each other."""
    if layer.kind == "GRU":
        z, r, h = np.split(rows, 3)
        rows = np.concatenate([r, z, h])
    return torch.from_numpy(np.array(rows, order="C"))
