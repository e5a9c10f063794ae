"""A TensorFlow 1 LSTM, exported to arrays: its joint kernel, its order of gates, its forget bias.

The oracle is the code of `BasicLSTMCell.call` in NumPy: `i, j, f, o = split(matmul([x, h], kernel) + bias, 4)`,
`c' = c sigmoid(f + forget_bias) + sigmoid(i) tanh(j)`, `h' = tanh(c') sigmoid(o)`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.convert.converting import WORDS, convert, refusal

Array = npt.NDArray[Any]
N, H, T, B = 5, 6, 9, 2


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a))."""
    result: Array = 1 / (1 + np.exp(-a))
    return result


def basic_lstm_cell(x: Array, kernel: Array, bias: Array, forget_bias: float) -> Array:
    """x (B, T, N) -> h of every step (B, T, H)."""
    h = c = np.zeros((len(x), kernel.shape[1] // 4))
    outputs = []
    for step in range(x.shape[1]):
        i, j, f, o = np.split(np.concatenate([x[:, step], h], axis=1) @ kernel + bias, 4, axis=1)
        c = c * sigmoid(f + forget_bias) + sigmoid(i) * np.tanh(j)
        h = np.tanh(c) * sigmoid(o)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def stacked_mapping(layers: int) -> dict[str, object]:
    """A mapping for so many layers of features."""
    recipes: dict[str, object] = {}
    for layer in range(layers):
        scope = f"rnn/multi_rnn_cell/cell_{layer}/basic_lstm_cell"
        kernel = {"source": f"{scope}/kernel", "transpose": True, "gates": "ijfo"}
        recipes |= {
            f"rnn.weight_ih_l{layer}": kernel | {"part": "input"},
            f"rnn.weight_hh_l{layer}": kernel | {"part": "recurrent"},
            f"rnn.bias_ih_l{layer}": {"source": f"{scope}/bias", "gates": "ijfo", "add": {"f": 1.0}},
            f"rnn.bias_hh_l{layer}": {"value": 0.0},
        }
    return {
        "config": {
            "input": {"kind": "features", "size": N},
            "recurrent": {"cell": "lstm", "input_size": N, "hidden_size": H, "layers": layers},
        },
        "parameters": recipes,
        "ignore": ["global_step", "*/Adam*"],
    }


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, list[str]]:
    """Two layers with an optimizer's leavings, and the options that compare them with the oracle."""
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {"global_step": np.array(1200)}
    x = y = random.normal(size=(B, T, N)).astype(np.float32)
    for layer, size in enumerate((N, H)):
        scope = f"rnn/multi_rnn_cell/cell_{layer}/basic_lstm_cell"
        kernel = random.normal(0, 0.5, (size + H, 4 * H)).astype(np.float32)
        bias = random.normal(0, 0.5, 4 * H).astype(np.float32)
        arrays |= {f"{scope}/kernel": kernel, f"{scope}/bias": bias, f"{scope}/kernel/Adam": kernel * 0}
        y = basic_lstm_cell(y, kernel, bias, forget_bias=1.0)
    np.savez(tmp_path / "tf1.npz", **arrays)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    (tmp_path / "map.json").write_text(json.dumps(stacked_mapping(2)))
    options = {"--mapping": "map.json", "--check-inputs": "x.npy", "--check-outputs": "y.npy"}
    return tmp_path / "tf1.npz", [
        word for option, name in options.items() for word in (option, str(tmp_path / name))
    ]


def test_a_stacked_basic_lstm_cell(tmp_path, exported):
    """Layers upon each other, with the constant that TensorFlow adds, give the oracle's numbers."""
    source, options = exported
    output = convert(source, tmp_path / "models", *options, "--check-form", "outputs")
    assert f"at most, of {B * T * H} outputs" in output


def test_the_forget_bias_matters(tmp_path, exported):
    """Without the constant that TensorFlow adds at run time the numbers differ, and nothing is written."""
    source, options = exported
    mapping = stacked_mapping(2)
    for layer in range(2):
        del mapping["parameters"][f"rnn.bias_ih_l{layer}"]["add"]
    Path(options[1]).write_text(json.dumps(mapping))
    line = refusal(source, tmp_path / "models", *options, "--check-form", "outputs")
    assert "answers differ from" in line
    assert "tolerance 1e-05" in line


def test_the_mapping_of_the_documents(tmp_path):
    """The example of docs/converting.md makes a language model with the oracle's numbers."""
    page = (Path(__file__).parents[2] / "docs" / "converting.md").read_text()
    (tmp_path / "map.json").write_text(page.partition("```json")[2].partition("```")[0])
    V, E, width = 1000, 32, 48
    random = np.random.default_rng(0)
    arrays = {
        "model/embedding": random.normal(0, 0.5, (V, E)),
        "model/rnn/basic_lstm_cell/kernel": random.normal(0, 0.2, (E + width, 4 * width)),
        "model/rnn/basic_lstm_cell/bias": random.normal(0, 0.5, 4 * width),
        "model/softmax_w": random.normal(0, 0.2, (width, V)),
        "model/softmax_b": random.normal(0, 0.5, V),
        "model/softmax_b/Adam_1": np.zeros(V),
        "global_step": np.array(7),
    }
    np.savez(tmp_path / "variables.npz", **arrays)
    ids = random.integers(V, size=(B, T))
    kernel, bias = (arrays[f"model/rnn/basic_lstm_cell/{name}"] for name in ("kernel", "bias"))
    outputs = basic_lstm_cell(arrays["model/embedding"][ids], kernel, bias, forget_bias=1.0)
    np.save(tmp_path / "x.npy", ids)
    np.save(tmp_path / "y.npy", outputs @ arrays["model/softmax_w"] + arrays["model/softmax_b"])
    output = convert(
        tmp_path / "variables.npz",
        tmp_path / "models",
        *["--mapping", str(tmp_path / "map.json"), *WORDS],
        *["--check-inputs", str(tmp_path / "x.npy"), "--check-outputs", str(tmp_path / "y.npy")],
        *["--check-form", "logits"],
    )
    assert "language model" in output
    assert f"at most, of {B * T * V:,} logits" in output
