"""The network behind the outputs of an ONNX graph."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from gatehouse_server.convert.found_network import FoundHead, FoundNetwork
from gatehouse_server.convert.onnx_values import (
    Axis,
    Embedded,
    Flow,
    Hidden,
    NodeDirection,
    Opaque,
    RawInput,
    Scored,
    Value,
)
from gatehouse_server.convert.port import ConversionError, not_servable
from gatehouse_server.convert.recurrent_layers import FoundLayer

_CHAIN = "convert a graph whose recurrent nodes follow each other"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxNetwork:
    """`output`: the tensor that is served. `source`: what the lowest layer reads, an input of the graph unless
    something that is not served stands between (then None). `time`, `batch`: the axes of both.
    """

    found: FoundNetwork
    output: Flow
    source: RawInput | None
    time: Axis
    batch: Axis
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


def find_network(
    outputs: Sequence[tuple[str, Value]], recurrent: Sequence[Flow], *, as_encoder: bool
) -> OnnxNetwork:
    """`recurrent`: what each recurrent node hands on, in the graph's order.

    Raises ConversionError for a graph that is no chain of recurrent layers with a dense layer behind it.
    """
    if not recurrent:
        raise ConversionError("the graph has no LSTM, GRU or RNN node", "nothing of it can be served here")
    left_out: list[str] = []
    name, output = _chosen(outputs, recurrent[-1], left_out, as_encoder)
    hidden, scored = output, None
    if isinstance(output.origin, Scored):
        scored, hidden = output.origin, output.origin.hidden
        if as_encoder:
            left_out.append(scored.node)
            output, scored = hidden, None
    assert isinstance(hidden.origin, Hidden)
    layers, lowest, used = _layers(hidden.origin)
    source = lowest.source
    if isinstance(source, Opaque):
        left_out.insert(0, source.told())
        if not as_encoder:
            raise not_servable(tuple(left_out))
    others = [label for label in _labels(recurrent) if label not in used]
    if others:
        if not as_encoder:
            raise ConversionError(f"{', '.join(others)} is not below the output {name}", _CHAIN)
        left_out += others
    ignored = [other for other, value in outputs if other != name and not _is_state(value)]
    found = FoundNetwork(
        embedding=_tensor(source.origin.table)
        if isinstance(source, Flow) and isinstance(source.origin, Embedded)
        else None,
        layers=layers,
        pooling=hidden.origin.pooling,
        head=None
        if scored is None
        else FoundHead(
            kind={"softmax": "softmax", "log_softmax": "softmax", "sigmoid": "sigmoid", None: None}[
                scored.scores
            ],
            weight=_tensor(scored.weight),
            bias=None if scored.bias is None else _tensor(scored.bias),
        ),
    )
    notes = [f"output {name} is served"]
    if ignored:
        notes.append(f"not served: the outputs {', '.join(ignored)}")
    raw = None
    if isinstance(source, Flow):
        raw = source.origin.ids if isinstance(source.origin, Embedded) else source.origin
    return OnnxNetwork(
        found=found,
        output=output,
        source=raw if isinstance(raw, RawInput) else None,
        time=lowest.time,
        batch=lowest.batch,
        left_out=tuple(left_out),
        notes=tuple(notes),
    )


def _chosen(
    outputs: Sequence[tuple[str, Value]], top: Flow, left_out: list[str], as_encoder: bool
) -> tuple[str, Flow]:
    """Scores before steps before a last step. What nothing computes is in the way, unless there are scores.

    As an encoder: what the last recurrent node hands on, where the outputs are further than that.
    """
    ranked: dict[int, list[tuple[str, Flow]]] = {}
    for name, value in outputs:
        if isinstance(value, Flow) and isinstance(value.origin, Scored):
            ranked.setdefault(2 if value.origin.scores is None else 3, []).append((name, value))
        elif isinstance(value, Flow) and isinstance(value.origin, Hidden) and not value.origin.cell:
            if value.origin.pooling is None:
                ranked.setdefault(1, []).append((name, value))
            elif len({part.node for part in value.origin.parts}) == 1 or value.origin.merge is not None:
                ranked.setdefault(0, []).append((name, value))
    unknown = tuple(dict.fromkeys(value.told() for _, value in outputs if isinstance(value, Opaque)))
    if unknown and not {2, 3} & ranked.keys():
        if not as_encoder:
            raise not_servable(unknown)
        left_out += unknown
        if not ranked:
            return top.tensor, top
    for rank in (3, 2, 1, 0):
        candidates = ranked.get(rank, [])
        if len(candidates) > 1:
            names = ", ".join(name for name, _ in candidates)
            raise ConversionError(f"the outputs {names} are of one kind", "export the graph with one of them")
        if candidates:
            return candidates[0]
    raise ConversionError("no output of the graph comes from its recurrent nodes", _CHAIN)


def _is_state(value: Value) -> bool:
    """What a next call would be given: every recurrent node hands it out."""
    return isinstance(value, Flow) and isinstance(value.origin, Hidden) and value.origin.pooling == "last"


def _layers(top: Hidden) -> tuple[list[FoundLayer], NodeDirection, frozenset[str]]:
    """Layers from the lowest up, a direction of the lowest, and the labels of all nodes."""
    layers: list[FoundLayer] = []
    used: set[str] = set()
    hidden = top
    while True:
        layers.append(_layer(hidden))
        used |= {part.node for part in hidden.parts}
        one = hidden.parts[0]
        below = one.source.origin if isinstance(one.source, Flow) else None
        if not isinstance(below, Hidden):
            return layers[::-1], one, frozenset(used)
        hidden = below


def _labels(recurrent: Sequence[Flow]) -> list[str]:
    origins = [flow.origin for flow in recurrent if isinstance(flow.origin, Hidden)]
    return [origin.parts[0].node for origin in origins]


def _layer(hidden: Hidden) -> FoundLayer:
    names = " and ".join(dict.fromkeys(part.node for part in hidden.parts))
    if len(hidden.parts) == 1:
        (part,) = hidden.parts
        if part.direction == "reverse":
            return FoundLayer(name=names, reverse=part.found)
        return FoundLayer(name=names, forward=part.found)
    forward, *others = hidden.parts
    directions = tuple(part.direction for part in hidden.parts)
    together = len(others) == 1 and (
        forward.node == others[0].node or _same_source(forward.source, others[0].source)
    )
    if directions != ("forward", "reverse") or not together:
        raise ConversionError(
            f"{names}: what is joined is not the forward and the reverse direction of one layer, in this order",
            _CHAIN,
        )
    return FoundLayer(
        name=names, forward=forward.found, reverse=others[0].found, merge=hidden.merge or "concat"
    )


def _same_source(one: Value, other: Value) -> bool:
    if not isinstance(one, Flow) or not isinstance(other, Flow):
        return one is other
    return one.tensor == other.tensor


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
