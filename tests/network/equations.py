"""Every recurrent cell as its equations say, one step at a time in float64: the oracle of the network tests.

Nothing here is the package's own but the specification. `test_equations` holds it against torch's modules.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from gatehouse_server.network.layer_spec import Direction, LayerSpec
from gatehouse_server.network.spec import recurrent_name
from torch import Tensor

Array = npt.NDArray[np.float64]


def activated(name: str, a: Array) -> Array:
    """The activation functions."""
    match name:
        case "sigmoid":
            return np.asarray(1 / (1 + np.exp(-a)))
        case "hard_sigmoid":
            return np.clip(a / 6 + 0.5, 0, 1)
        case "hard_sigmoid_fifth":
            return np.clip(a / 5 + 0.5, 0, 1)
        case "tanh":
            return np.tanh(a)
        case "relu":
            return np.maximum(a, 0)
        case "softsign":
            return np.asarray(a / (1 + np.abs(a)))
    raise AssertionError(name)


class Equations:
    """One direction of one layer."""

    def __init__(
        self, layer: LayerSpec, direction: Direction, number: int, parameters: Mapping[str, Tensor]
    ) -> None:
        self.layer = layer
        self.options = layer.options_of(direction)
        self._own = {
            name: parameters[recurrent_name(name, number, direction)].double().numpy()
            for name in layer.parameter_shapes(direction)
        }
        self.is_lstm = layer.cell == "lstm"

    def initial(self) -> list[Array]:
        """The state before the first step."""
        widths = [self.layer.step_size] + ([self.layer.hidden_size] if self.is_lstm else [])
        names = ["initial_h", "initial_c"]
        return [self._own.get(name, np.zeros(width)) for name, width in zip(names, widths, strict=False)]

    def step(self, x: Array, state: list[Array]) -> tuple[list[Array], dict[str, Array]]:
        """The next state, and what went on by name."""
        if self.is_lstm:
            return self._lstm(x, *state)
        if self.layer.cell == "gru":
            return self._gru(x, *state)
        kind = {"rnn_relu": "relu", "rnn_tanh": "tanh"}.get(self.layer.cell, self.options.activation)
        before = (
            self._products(x, "weight_ih", "bias_ih", 1)[0]
            + self._products(state[0], "weight_hh", "bias_hh", 1)[0]
        )
        h = activated(kind, self._clipped(before))
        return [h], {"hidden": h}

    def _products(self, x: Array, weight: str, bias: str, gates: int) -> list[Array]:
        product = self._own[weight] @ x + self._own.get(bias, 0.0)
        return list(product.reshape(gates, -1))

    def _clipped(self, a: Array) -> Array:
        clip = self.options.gate_clip
        return a if clip is None else np.clip(a, -clip, clip)

    def _gate(self, a: Array) -> Array:
        return activated(self.options.gate_activation, self._clipped(a))

    def _lstm(self, x: Array, h: Array, c: Array) -> tuple[list[Array], dict[str, Array]]:
        options, width = self.options, self.layer.hidden_size
        names = ["i", "g", "o"] if options.coupled else ["i", "f", "g", "o"]
        before = {
            name: a + b
            for name, a, b in zip(
                names,
                self._products(x, "weight_ih", "bias_ih", len(names)),
                self._products(h, "weight_hh", "bias_hh", len(names)),
                strict=True,
            )
        }
        looking = [name for name in names if name != "g"]
        peepholes = dict.fromkeys(looking, np.zeros(width))
        if options.peepholes:
            peepholes = dict(zip(looking, self._own["peephole"].reshape(len(looking), width), strict=True))
        i = self._gate(before["i"] + peepholes["i"] * c)
        f = 1 - i if options.coupled else self._gate(before["f"] + peepholes["f"] * c)
        g = activated(options.activation, self._clipped(before["g"]))
        c = f * c + i * g
        if options.cell_clip is not None:
            c = np.clip(c, -options.cell_clip, options.cell_clip)
        o = self._gate(before["o"] + peepholes["o"] * c)
        h = o * activated(options.output_activation or options.activation, c)
        if self.layer.projection_size:
            h = self._own["weight_hr"] @ h
        seen = {"input": i, "forget": f, "output": o, "candidate": g, "cell": c, "hidden": h}
        return [h, c], seen

    def _gru(self, x: Array, h: Array) -> tuple[list[Array], dict[str, Array]]:
        rx, zx, nx = self._products(x, "weight_ih", "bias_ih", 3)
        rh, zh, nh = self._products(h, "weight_hh", "bias_hh", 3)
        r, z = self._gate(rx + rh), self._gate(zx + zh)
        before = self.options.reset == "before"
        nh = self._products(r * h, "weight_hh", "bias_hh", 3)[2] if before else r * nh
        n = activated(self.options.activation, self._clipped(nx + nh))
        h = (1 - z) * n + z * h
        return [h], {"reset": r, "update": z, "candidate": n, "hidden": h}


def run(
    layer: LayerSpec, number: int, parameters: Mapping[str, Tensor], inputs: Array
) -> tuple[Array, Array, dict[Direction, list[dict[str, Array]]]]:
    """One layer over inputs (T, F): outputs (T, R), the end (R,), and what went on in each direction at each step."""
    outputs: dict[Direction, Array] = {}
    ends: dict[Direction, Array] = {}
    seen: dict[Direction, list[dict[str, Array]]] = {}
    for direction in layer.directions:
        cell = Equations(layer, direction, number, parameters)
        state, rows = cell.initial(), []
        told: list[dict[str, Array]] = []
        for x in inputs if direction == "forward" else inputs[::-1]:
            state, what = cell.step(x, state)
            rows.append(state[0])
            told.append(what)
        ends[direction] = rows[-1]
        if direction == "reverse":
            rows.reverse()
            told.reverse()
        outputs[direction], seen[direction] = np.stack(rows), told
    return _merged(layer, outputs), _merged(layer, ends), seen


def _merged(layer: LayerSpec, by_direction: Mapping[Direction, Array]) -> Array:
    if len(by_direction) == 1:
        return next(iter(by_direction.values()))
    forward, reverse = by_direction["forward"], by_direction["reverse"]
    match layer.merge:
        case "concat":
            return np.concatenate([forward, reverse], axis=-1)
        case "sum":
            return forward + reverse
        case "average":
            return (forward + reverse) / 2
        case "multiply":
            return forward * reverse
