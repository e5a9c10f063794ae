"""What Keras computes, in NumPy and float64, layer by layer. Shares no code with the converter or with networks.

After keras-team/keras, `keras/src/layers/rnn`: `go_backwards` reverses the input of a layer, and its outputs come in
the order in which they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.convert.keras_models import Layer

Array = Any
"""A NumPy array; nothing here tells more of it than NumPy does."""


def sigmoid(values: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-values))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda values: np.maximum(values, 0.0),
    "softsign": lambda values: values / (1.0 + np.abs(values)),
    "linear": lambda values: values,
    "hard_sigmoid": lambda values: np.clip(values / 6.0 + 0.5, 0.0, 1.0),
    "hard_sigmoid_2": lambda values: np.clip(0.2 * values + 0.5, 0.0, 1.0),
    "softmax": lambda values: np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True),
}


class KerasOracle:
    """A Sequential of these layers, called with one sequence at a time; stateful layers keep their state."""

    def __init__(self, layers: Sequence[Layer], keras: int) -> None:
        self.layers, self.keras = layers, keras
        self._states: dict[str, Any] = {}

    def __call__(self, values: Array) -> Array:
        """values: (T, N), or ids (T,)."""
        for layer in self.layers:
            values = self._layer(layer, values)
        return values

    def _layer(self, layer: Layer, values: Array) -> Array:
        arrays = [np.asarray(array, np.float64) for array in layer.arrays]
        if layer.kind == "Embedding":
            return arrays[0][values]
        if layer.kind in ("Dense", "TimeDistributed"):
            config = layer.config if layer.kind == "Dense" else layer.config["layer"]["config"]
            made = values @ arrays[0] + (arrays[1] if len(arrays) > 1 else 0.0)
            return ACTIVATIONS[config["activation"]](made)
        if layer.kind == "GlobalMaxPooling1D":
            return values.max(axis=0)
        if layer.kind == "GlobalAveragePooling1D":
            return values.mean(axis=0)
        if layer.kind == "Bidirectional":
            return self._both(layer, arrays, values)
        if not arrays:
            return values
        return self._recurrent(layer.kind, layer.config, arrays, values)

    def _both(self, layer: Layer, arrays: list[Array], values: Array) -> Array:
        inner, half = layer.config["layer"], len(arrays) // 2
        kind, config = inner["class_name"], inner["config"]
        ahead = self._recurrent(kind, config, arrays[:half], values)
        behind = self._recurrent(kind, {**config, "go_backwards": True}, arrays[half:], values)
        if config["return_sequences"]:
            behind = behind[::-1]
        mode = layer.config["merge_mode"]
        if mode == "concat":
            return np.concatenate([ahead, behind], axis=-1)
        return {"sum": ahead + behind, "ave": (ahead + behind) / 2, "mul": ahead * behind}[mode]

    def _recurrent(self, kind: str, config: dict[str, Any], arrays: list[Array], values: Array) -> Array:
        zero = np.zeros(config["units"])
        state = self._states.get(config["name"], (zero, zero)) if config["stateful"] else (zero, zero)
        outputs = []
        for x in values[::-1] if config["go_backwards"] else values:
            state = getattr(self, f"_{kind}")(config, arrays, x, *state)
            outputs.append(state[0])
        self._states[config["name"]] = state
        return np.stack(outputs) if config["return_sequences"] else outputs[-1]

    def _gate(self, config: dict[str, Any]) -> Any:
        name = config["recurrent_activation"]
        return ACTIVATIONS["hard_sigmoid_2" if name == "hard_sigmoid" and self.keras == 2 else name]

    def _LSTM(self, config, arrays, x, h, c):  # noqa: N802
        gate, activation = self._gate(config), ACTIVATIONS[config["activation"]]
        z = x @ arrays[0] + h @ arrays[1] + (arrays[2] if len(arrays) > 2 else 0.0)
        i, f, g, o = np.split(z, 4)
        c = gate(f) * c + gate(i) * activation(g)
        return gate(o) * activation(c), c

    def _GRU(self, config, arrays, x, h, c):  # noqa: N802
        gate, activation = self._gate(config), ACTIVATIONS[config["activation"]]
        kernel, recurrent = arrays[0], arrays[1]
        bias = arrays[2] if len(arrays) > 2 else np.zeros(kernel.shape[1])
        ahead, behind = (bias[0], bias[1]) if bias.ndim == 2 else (bias, np.zeros_like(bias))
        xz, xr, xh = np.split(x @ kernel + ahead, 3)
        uz, ur, uh = np.split(recurrent, 3, axis=1)
        bz, br, bh = np.split(behind, 3)
        z, r = gate(xz + h @ uz + bz), gate(xr + h @ ur + br)
        inner = r * (h @ uh + bh) if config.get("reset_after") else (r * h) @ uh
        return z * h + (1.0 - z) * activation(xh + inner), c

    def _SimpleRNN(self, config, arrays, x, h, c):  # noqa: N802
        z = x @ arrays[0] + h @ arrays[1] + (arrays[2] if len(arrays) > 2 else 0.0)
        return ACTIVATIONS[config["activation"]](z), c
