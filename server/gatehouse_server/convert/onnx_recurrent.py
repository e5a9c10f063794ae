"""LSTM, GRU and RNN nodes of ONNX as directions of ours.

Gate order there: i, o, f, c of an LSTM, z, r, h of a GRU; peepholes i, o, f. `input_forget` leaves the forget gate's
weights unused. `clip` bounds what gates and candidate are applied to, as onnxruntime computes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from gatehouse_server.convert.onnx_values import Array
from gatehouse_server.convert.port import ConversionError
from gatehouse_server.convert.recurrent_layers import FoundDirection
from gatehouse_server.network.cell_options import Activation, CellOptions, GateActivation
from gatehouse_server.network.layer_spec import Direction

GATES: Final = {"LSTM": 4, "GRU": 3, "RNN": 1}
_CELLS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}
_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_DIRECTIONS: Mapping[str, tuple[Direction, ...]] = {
    "forward": ("forward",),
    "reverse": ("reverse",),
    "bidirectional": ("forward", "reverse"),
}
_COMMON = {"activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "layout"}
_KNOWN = {"LSTM": {*_COMMON, "input_forget"}, "GRU": {*_COMMON, "linear_before_reset"}, "RNN": _COMMON}
_ACTIVATIONS: Mapping[str, Activation] = {
    "tanh": "tanh",
    "relu": "relu",
    "sigmoid": "sigmoid",
    "softsign": "softsign",
}
_NEAR = 1e-6
_REMEDY = "nothing here computes it"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWeights:
    """W (D, G*H, N), R (D, G*H, H), B (D, 2*G*H), P (D, 3*H), initial_h and initial_c (D, H)."""

    W: Array
    R: Array
    B: Array | None = None
    P: Array | None = None
    initial_h: Array | None = None
    initial_c: Array | None = None


def check_attributes(node: str, kind: str, attributes: Mapping[str, Any]) -> tuple[Direction, ...]:
    """The directions of a node, in ONNX's order. Raises ConversionError for attributes that nothing computes."""
    for name in attributes:
        if name not in _KNOWN[kind]:
            raise ConversionError(f"{node}: attribute {name} is not known", _REMEDY)
    direction = attributes.get("direction", "forward")
    if direction not in _DIRECTIONS:
        raise ConversionError(
            f"{node}: attribute direction is {direction!r}", f"expected {', '.join(_DIRECTIONS)}"
        )
    if attributes.get("layout", 0) not in (0, 1):
        raise ConversionError(f"{node}: attribute layout is {attributes['layout']!r}", "expected 0 or 1")
    return _DIRECTIONS[direction]


def read_directions(
    node: str, kind: str, attributes: Mapping[str, Any], weights: NodeWeights
) -> list[tuple[Direction, FoundDirection]]:
    """Each direction with its parameters. Raises ConversionError for what no cell of ours computes."""
    directions = check_attributes(node, kind, attributes)
    _check_shapes(node, kind, attributes, weights, len(directions))
    options = _options(node, kind, attributes, len(directions), peepholes=weights.P is not None)
    return [
        (direction, _direction(kind, options[number], weights, number))
        for number, direction in enumerate(directions)
    ]


def _direction(kind: str, options: CellOptions, weights: NodeWeights, number: int) -> FoundDirection:
    W, R = weights.W[number], weights.R[number]
    parameters = {"weight_ih": _ordered(kind, W, options), "weight_hh": _ordered(kind, R, options)}
    if weights.B is not None:
        forward, recurrent = np.split(weights.B[number], 2)
        parameters |= {
            "bias_ih": _ordered(kind, forward, options),
            "bias_hh": _ordered(kind, recurrent, options),
        }
    if weights.P is not None:
        i, o, f = np.split(weights.P[number], 3)
        parameters["peephole"] = _tensor([i, o] if options.coupled else [i, f, o])
    initial = {"h": weights.initial_h, "c": weights.initial_c}
    return FoundDirection(
        cell=_CELLS[kind],
        input_size=W.shape[1],
        hidden_size=R.shape[1],
        options=options,
        parameters=parameters,
        initial={part: _tensor([value[number]]) for part, value in initial.items() if value is not None},
    )


def _ordered(kind: str, rows: Array, options: CellOptions) -> torch.Tensor:
    if kind == "LSTM":
        i, o, f, c = np.split(rows, 4)
        return _tensor([i, c, o] if options.coupled else [i, f, c, o])
    if kind == "GRU":
        z, r, h = np.split(rows, 3)
        return _tensor([r, z, h])
    return _tensor([rows])


def _tensor(pieces: Sequence[Array]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(pieces).astype(np.float32, copy=True))


def _check_shapes(
    node: str, kind: str, attributes: Mapping[str, Any], weights: NodeWeights, directions: int
) -> None:
    if weights.R.ndim != 3 or weights.W.ndim != 3:
        raise ConversionError(f"{node}: W or R has not three dimensions", "make the model again")
    hidden, inputs = weights.R.shape[2], weights.W.shape[2]
    if attributes.get("hidden_size", hidden) != hidden:
        raise ConversionError(
            f"{node}: attribute hidden_size is {attributes['hidden_size']}, R is for {hidden}",
            "make the model again",
        )
    rows = GATES[kind] * hidden
    expected = {
        "W": (directions, rows, inputs),
        "R": (directions, rows, hidden),
        "B": (directions, 2 * rows),
        "P": (directions, 3 * hidden),
        "initial_h": (directions, hidden),
        "initial_c": (directions, hidden),
    }
    for name, shape in expected.items():
        value = getattr(weights, name)
        if value is not None and (value.shape != shape or 0 in shape):
            raise ConversionError(
                f"{node}: {name} has shape {value.shape}, expected {shape}", "make the model again"
            )


def _options(
    node: str, kind: str, attributes: Mapping[str, Any], directions: int, *, peepholes: bool
) -> list[CellOptions]:
    given = attributes.get("activations") or _DEFAULTS[kind] * directions
    each = len(_DEFAULTS[kind])
    if len(given) != each * directions:
        raise ConversionError(
            f"{node}: attribute activations has {len(given)} entries, expected {each * directions}",
            f"{each} for each direction",
        )
    alphas, betas = (iter(attributes.get(f"activation_{name}", ())) for name in ("alpha", "beta"))
    clip = attributes.get("clip")
    if clip is not None and not 0 < clip < float("inf"):
        raise ConversionError(f"{node}: attribute clip is {clip}", "expected a positive number")
    options = []
    for start in range(0, len(given), each):
        names = [str(name) for name in given[start : start + each]]
        gate: GateActivation = "sigmoid" if kind == "RNN" else _gate(node, names.pop(0), alphas, betas)
        cells = [_cell(node, name) for name in names]
        options.append(
            CellOptions(
                gate_activation=gate,
                activation=cells[0],
                output_activation=cells[1] if len(cells) > 1 and cells[1] != cells[0] else None,
                peepholes=peepholes,
                coupled=bool(attributes.get("input_forget", 0)),
                reset="before" if kind == "GRU" and not attributes.get("linear_before_reset", 0) else "after",
                gate_clip=clip,
            )
        )
    for name, values in (("alpha", alphas), ("beta", betas)):
        if next(values, None) is not None:
            raise ConversionError(
                f"{node}: attribute activation_{name} has more values than there are activations that take one",
                "give one for each HardSigmoid, in order",
            )
    return options


def _gate(node: str, name: str, alphas: Iterator[float], betas: Iterator[float]) -> GateActivation:
    if name.lower() == "sigmoid":
        return "sigmoid"
    if name.lower() != "hardsigmoid":
        raise ConversionError(f"{node}: attribute activations has {name} for gates", _REMEDY)
    # Values are consumed by the activations that take one, in their order; defaults are the operator's.
    alpha, beta = next(alphas, 0.2), next(betas, 0.5)
    if abs(beta - 0.5) < _NEAR:
        if abs(alpha - 0.2) < _NEAR:
            return "hard_sigmoid_fifth"
        if abs(alpha - 1 / 6) < _NEAR:
            return "hard_sigmoid"
    raise ConversionError(
        f"{node}: attributes activation_alpha {alpha:g} and activation_beta {beta:g} of HardSigmoid",
        "only 1/5 and 1/2, or 1/6 and 1/2, are computed",
    )


def _cell(node: str, name: str) -> Activation:
    found = _ACTIVATIONS.get(name.lower())
    if found is None:
        raise ConversionError(f"{node}: attribute activations has {name}", _REMEDY)
    return found
