"""What goes on inside of a model, from plain objects to protobuf: the same for sessions and documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gatehouse.v1 import online_pb2

from gatehouse_server.engine.looking import LayerActivations

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer


def fill_activations(
    field: RepeatedCompositeFieldContainer[online_pb2.LayerActivations], layers: Sequence[LayerActivations]
) -> None:
    """Adds one entry for each layer and direction."""
    for layer in layers:
        entry = field.add(layer=layer.layer, reverse=layer.reverse)
        for name, values in layer.values.items():
            entry.activations.add(
                name=name, width=values.shape[1], values=values.astype("<f4", copy=False).tobytes()
            )


def activations_bytes(layers: Sequence[LayerActivations]) -> int:
    """About how many bytes they take in a message."""
    return sum(values.nbytes + 64 for layer in layers for values in layer.values.values())
