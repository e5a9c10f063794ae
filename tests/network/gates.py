"""Gates and states of every cell as the textbooks write them, in NumPy and double precision: the oracle of looking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from gatehouse_server.network.layer_spec import Direction, LayerSpec
from gatehouse_server.network.spec import recurrent_name
from torch import Tensor

Doubles = npt.NDArray[np.float64]


def sigmoid(values: Doubles) -> Doubles:
    """1 / (1 + e^-x)."""
    return 1.0 / (1.0 + np.exp(-values))


def layer_gates(
    layer: LayerSpec, number: int, direction: Direction, parameters: Mapping[str, Tensor], inputs: Doubles
) -> dict[str, Doubles]:
    """What one direction of a layer does with inputs (T, F): by name (T, width), in the order of the steps."""

    def take(name: str) -> Doubles:
        return parameters[recurrent_name(name, number, direction)].numpy().astype(np.float64)

    weights = {name: take(name) for name in layer.parameter_shapes(direction)}
    h = weights.get("initial_h", np.zeros(layer.step_size))
    c = weights.get("initial_c", np.zeros(layer.hidden_size))
    order = range(len(inputs)) if direction == "forward" else reversed(range(len(inputs)))
    told: dict[int, dict[str, Doubles]] = {}
    for step in order:
        if layer.cell == "lstm":
            told[step] = _lstm(layer, weights, inputs[step], h, c)
            c = told[step]["cell"]
        elif layer.cell == "gru":
            told[step] = _gru(layer, weights, inputs[step], h)
        else:
            before = _product(weights, inputs[step], h)
            told[step] = {"hidden": np.maximum(before, 0) if layer.cell == "rnn_relu" else np.tanh(before)}
        h = told[step]["hidden"]
    return {name: np.stack([told[step][name] for step in range(len(inputs))]) for name in told[0]}


def stack_gates(
    layers: Sequence[LayerSpec], parameters: Mapping[str, Tensor], inputs: Doubles
) -> dict[tuple[int, str], dict[str, Doubles]]:
    """The same of a whole stack, by layer and direction."""
    told: dict[tuple[int, str], dict[str, Doubles]] = {}
    for number, layer in enumerate(layers):
        outputs = []
        for direction in layer.directions:
            told[number, direction] = layer_gates(layer, number, direction, parameters, inputs)
            outputs.append(told[number, direction]["hidden"])
        if len(outputs) == 1 or layer.merge == "concat":
            inputs = np.concatenate(outputs, axis=1)
        elif layer.merge == "multiply":
            inputs = outputs[0] * outputs[1]
        else:
            inputs = (outputs[0] + outputs[1]) / (2 if layer.merge == "average" else 1)
    return told


def _product(weights: Mapping[str, Doubles], x: Doubles, h: Doubles) -> Doubles:
    bias = weights.get("bias_ih", 0.0) + weights.get("bias_hh", 0.0)
    result: Doubles = weights["weight_ih"] @ x + weights["weight_hh"] @ h + bias
    return result


def _lstm(
    layer: LayerSpec, weights: Mapping[str, Doubles], x: Doubles, h: Doubles, c: Doubles
) -> dict[str, Doubles]:
    size, coupled = layer.hidden_size, layer.options.coupled
    names = ("i", "g", "o") if coupled else ("i", "f", "g", "o")
    before = dict(zip(names, _product(weights, x, h).reshape(len(names), size), strict=True))
    peeped = [name for name in names if name != "g"]
    peepholes = weights.get("peephole", np.zeros(len(peeped) * size)).reshape(len(peeped), size)
    looks = dict(zip(peeped, peepholes, strict=True))
    i = sigmoid(before["i"] + looks["i"] * c)
    f = 1.0 - i if coupled else sigmoid(before["f"] + looks["f"] * c)
    g = np.tanh(before["g"])
    new_c = f * c + i * g
    o = sigmoid(before["o"] + looks["o"] * new_c)
    hidden = o * np.tanh(new_c)
    if layer.projection_size:
        hidden = weights["weight_hr"] @ hidden
    return {"input": i, "forget": f, "output": o, "candidate": g, "cell": new_c, "hidden": hidden}


def _gru(layer: LayerSpec, weights: Mapping[str, Doubles], x: Doubles, h: Doubles) -> dict[str, Doubles]:
    size = layer.hidden_size
    nothing = np.zeros(3 * size)
    from_input = (weights["weight_ih"] @ x + weights.get("bias_ih", nothing)).reshape(3, size)
    recurrent, bias = weights["weight_hh"].reshape(3, size, size), weights.get("bias_hh", nothing)
    bias = bias.reshape(3, size)
    r = sigmoid(from_input[0] + recurrent[0] @ h + bias[0])
    z = sigmoid(from_input[1] + recurrent[1] @ h + bias[1])
    if layer.options.reset == "before":
        n = np.tanh(from_input[2] + recurrent[2] @ (r * h) + bias[2])
    else:
        n = np.tanh(from_input[2] + r * (recurrent[2] @ h + bias[2]))
    return {"reset": r, "update": z, "candidate": n, "hidden": (1.0 - z) * n + z * h}
