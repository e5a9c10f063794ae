"""The cell computes its equations, in every way in which Gatehouse will use it."""

import numpy as np
import pytest
from gatehouse_server.cells import Arrays, Options, check_cell
from layer_norm_lstm import LayerNormLSTM


def _norm(parameters: Arrays, name: str, values: np.ndarray, epsilon: float) -> np.ndarray:
    normalised = (values - values.mean()) / np.sqrt(values.var() + epsilon)
    return parameters[f"{name}_scale"] * normalised + parameters[f"{name}_shift"]


def step(parameters: Arrays, options: Options, x: np.ndarray, state: list[np.ndarray]) -> list[np.ndarray]:
    """The equations, one step of one sequence."""
    h, c = state
    epsilon = float(options.get("epsilon", 1e-5))
    before = _norm(parameters, "input", parameters["weight_ih"] @ x, epsilon)
    before = before + _norm(parameters, "recurrent", parameters["weight_hh"] @ h, epsilon)
    before = before + parameters.get("bias", 0.0)
    i, f, g, o = np.split(before, 4)
    i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
    c = f * c + i * np.tanh(g)
    return [o * np.tanh(_norm(parameters, "cell", c, epsilon)), c]


@pytest.mark.parametrize("options", [{}, {"epsilon": 1e-3}])
def test_the_cell_keeps_what_gatehouse_promises(options: dict[str, float]) -> None:
    """Parity with the equations, and with itself: in any batch, in chunks, recorded."""
    check_cell(LayerNormLSTM, step, options=options)


def test_unknown_options_are_refused() -> None:
    """A misspelt option does not silently mean its default."""
    with pytest.raises(ValueError, match="epsilno: not an option"):
        check_cell(LayerNormLSTM, step, options={"epsilno": 1e-3})
