"""A chain of Keras layers as a network of ours, or the layer that is in the way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch

from gatehouse_server.convert.keras_activations import head_kind_of
from gatehouse_server.convert.keras_architecture import KerasLayer
from gatehouse_server.convert.keras_recurrent import directions_of, is_recurrent, read_layer, returns_steps
from gatehouse_server.convert.keras_weights import Array, KerasWeights
from gatehouse_server.convert.port import ConversionError, not_servable
from gatehouse_server.convert.recurrent_layers import FoundLayer
from gatehouse_server.network.spec import HeadKind

# They do nothing at inference, or nothing to sequences that are not padded.
_PASSED: Final = frozenset(
    {
        "InputLayer",
        "Dropout",
        "SpatialDropout1D",
        "GaussianDropout",
        "GaussianNoise",
        "AlphaDropout",
        "ActivityRegularization",
        "Masking",
    }
)
_POOLINGS: Final = {
    "GlobalAveragePooling1D": "mean",
    "GlobalAvgPool1D": "mean",
    "GlobalMaxPooling1D": "max",
    "GlobalMaxPool1D": "max",
}
_WIDER = {"float16", "bfloat16", "mixed_float16", "mixed_bfloat16", "float64"}


@dataclass(slots=True)
class KerasNetwork:
    """What has been found. `flipped`: outputs come in the opposite order of time, as Keras tells them."""

    embedding: Array | None = None
    layers: list[FoundLayer] = field(default_factory=list)
    pooling: str | None = None
    flipped: bool = False
    head: tuple[HeadKind, Array, Array | None] | None = None
    stateful: set[bool] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def width(self) -> int | None:
        """Values per step so far; None where only the weights of the next layer tell."""
        if self.layers:
            return self.layers[-1].output_size
        return None if self.embedding is None else int(self.embedding.shape[1])


def read_network(
    chain: Sequence[KerasLayer], weights: KerasWeights, version: int | None, *, as_encoder: bool
) -> KerasNetwork:
    """The network that `chain` is. Raises ConversionError, naming every layer that nothing here computes."""
    body = [place for place, layer in enumerate(chain) if is_recurrent(layer)]
    if not body:
        raise ConversionError(
            "the model has no LSTM, GRU or SimpleRNN layer", "nothing of it can be served here"
        )
    network = KerasNetwork()
    for place, layer in enumerate(chain):
        _check_type(network, layer)
        if is_recurrent(layer):
            _add_recurrent(network, layer, weights, version)
        elif layer.kind in _PASSED:
            _note_mask(network, layer)
        elif layer.kind == "Embedding" and _next_is(chain, place, body[0]):
            _add_embedding(network, layer, weights)
        elif body[0] < place < body[-1]:
            raise ConversionError(
                f"layer {layer} lies between recurrent layers and is not computed here",
                "nothing of this model can be served",
            )
        elif place < body[0] or not _add_behind(network, layer, weights, as_encoder):
            network.left_out.append(str(layer))
    if network.left_out and not as_encoder:
        raise not_servable(tuple(network.left_out))
    _settle_state(network)
    return network


def _next_is(chain: Sequence[KerasLayer], place: int, body: int) -> bool:
    """Whether nothing but layers that do nothing lies between an embedding and the lowest recurrent layer."""
    return place < body and all(layer.kind in _PASSED for layer in chain[place + 1 : body])


def _add_embedding(network: KerasNetwork, layer: KerasLayer, weights: KerasWeights) -> None:
    shape = (layer.size("input_dim"), layer.size("output_dim"))
    [[network.embedding]] = weights.read(layer.name, [("", [shape])])
    if layer.flag("mask_zero"):
        network.notes.append(
            f"layer {layer}: mask_zero makes Keras skip id 0; here every token is read, so leave the padding out"
        )


def _note_mask(network: KerasNetwork, layer: KerasLayer) -> None:
    if layer.kind == "Masking":
        value = layer.config.get("mask_value", 0.0)
        network.notes.append(
            f"layer {layer}: makes Keras skip steps whose values are all {value}; here every step is read, "
            "so leave such steps out"
        )


def _add_recurrent(
    network: KerasNetwork, layer: KerasLayer, weights: KerasWeights, version: int | None
) -> None:
    if network.pooling is not None:
        raise ConversionError(
            f"layer {layer} reads steps, and {network.layers[-1].name} hands on the last one alone",
            "nothing of this model can be served",
        )
    network.layers.append(read_layer(layer, weights, network.width, network.flipped, version))
    parts = directions_of(layer)
    for part in parts:
        _check_type(network, part)
        network.stateful.add(part.flag("stateful"))
    if not returns_steps(layer):
        network.pooling = "last"
    elif len(parts) == 1:
        network.flipped = network.flipped != layer.flag("go_backwards")


def _add_behind(network: KerasNetwork, layer: KerasLayer, weights: KerasWeights, as_encoder: bool) -> bool:
    """Adds what stands above the recurrent layers; False if nothing here computes it."""
    if as_encoder:
        return False
    if layer.kind in _POOLINGS and network.pooling is None and network.head is None:
        if layer.config.get("data_format") not in (None, "channels_last"):
            return False  # it pools the values of each step
        network.pooling = _POOLINGS[layer.kind]
        return True
    if layer.kind in ("Activation", "Softmax") and network.head is not None and network.head[0] == "linear":
        kind = _softmax(layer) if layer.kind == "Softmax" else head_kind_of(layer)
        if kind is not None:
            network.head = (kind, *network.head[1:])
        return kind is not None
    dense, path = layer, ""
    if layer.kind == "TimeDistributed":
        inner = layer.inner("layer")
        if inner is None or network.pooling is not None:
            return False
        dense, path = inner, "layer"
    if dense.kind != "Dense" or network.head is not None:
        return False
    kind = head_kind_of(dense)
    if kind is None:
        return False
    size = dense.size("units")
    shapes = [(network.width, size), (size,)] if dense.flag("use_bias", True) else [(network.width, size)]
    [arrays] = weights.read(layer.name, [(path, shapes)])
    network.head = (kind, np.ascontiguousarray(arrays[0].T), arrays[1] if len(arrays) > 1 else None)
    return True


def _softmax(layer: KerasLayer) -> HeadKind | None:
    return "softmax" if layer.config.get("axis", -1) == -1 else None


def _check_type(network: KerasNetwork, layer: KerasLayer) -> None:
    policy = layer.config.get("dtype")
    if isinstance(policy, dict):
        named = policy.get("config")
        policy = named.get("name", "unknown") if isinstance(named, dict) else "unknown"
    policy = "float32" if policy is None else str(policy)
    if policy == "float32" or layer.kind in ("InputLayer", "Embedding"):
        return
    if policy not in _WIDER:
        raise ConversionError(f"layer {layer}: computes in {policy}", "save it with dtype float32")
    note = f"computed in float32 here, in {policy} by Keras"
    if note not in network.notes:
        network.notes.append(note)


def _settle_state(network: KerasNetwork) -> None:
    """What a stateful model is here: a session, whose state goes from call to call."""
    if network.stateful != {True}:
        if True in network.stateful:
            raise ConversionError("some recurrent layers are stateful and some are not", "make them alike")
        if network.flipped and network.pooling is None:
            network.notes.append(
                "go_backwards: Keras hands on the steps in the order in which it read them, the last one first; "
                "here each output stands at the step it belongs to"
            )
        return
    directions = {layer.direction for layer in network.layers}
    if len(directions) > 1 or "both" in directions:
        raise ConversionError(
            "the model is stateful and reads in both directions, so that its state goes on from the end of one call "
            "and from the beginning of another",
            "save it with stateful=False, if sequences are whole",
        )
    if network.pooling not in (None, "last"):
        raise ConversionError(
            "the model is stateful and pools its steps", "save it with stateful=False, if sequences are whole"
        )
    if network.pooling == "last":
        network.pooling = None
        network.notes.append("return_sequences=False: the output at the last step is what Keras hands on")
    network.notes.append("stateful: a session carries the state from write to write")
    if directions == {"reverse"}:
        network.layers = [FoundLayer(name=layer.name, forward=layer.reverse) for layer in network.layers]
        network.flipped = False
        network.notes.append(
            "stateful with go_backwards: write the steps of each call in reverse, the last one first; outputs come "
            "in that order, as in Keras"
        )


def tensor_of(array: Array) -> torch.Tensor:
    """A tensor of its own."""
    return torch.from_numpy(np.array(array, order="C"))
