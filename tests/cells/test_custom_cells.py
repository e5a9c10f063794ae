"""Cells from outside of the package: the example, as somebody who installed it would use it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from gatehouse_server.cells import Arrays, Cell, Options, check_cell
from gatehouse_server.errors import ModelFolderError
from gatehouse_server.models.config import parse_config
from gatehouse_server.models.folder import load_folder
from gatehouse_server.models.registry import Registry
from gatehouse_server.network import registry
from gatehouse_server.network.lstm import LSTM
from gatehouse_server.network.spec import parameter_shapes
from safetensors.torch import save_file
from torch import Tensor

from tests.tiny import write_tiny_features

EXAMPLE = Path(__file__).parents[2] / "examples" / "layer_norm_lstm"


def install(folder: Path, entry_point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes an entry point known as pip would: a distribution's folder beside its modules, on the path."""
    information = folder / "somebodys_cells-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys-cells\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{registry.ENTRY_POINT_GROUP}]\n{entry_point}\n")
    monkeypatch.syspath_prepend(folder)


@pytest.fixture(autouse=True)
def _forget_cells() -> None:
    registry._loaded.cache_clear()


def write_model(folder: Path, cell: str, **recurrent: object) -> Path:
    """The configuration of an encoder with two layers of the cell."""
    folder = folder / "own" / "1"
    folder.mkdir(parents=True)
    config = {
        "format": 1,
        "name": "own",
        "version": "1",
        "task": "encoder",
        "input": {"kind": "features", "size": 3},
        "recurrent": {"cell": cell, "input_size": 3, "hidden_size": 4, "layers": 2} | recurrent,
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"nothing": torch.zeros(1)}, folder / "model.safetensors")
    return folder


def test_the_examples_own_tests_pass() -> None:
    """The example is checked by the harness that it shows, as its author would run it."""
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_layer_norm_lstm.py"],
        cwd=EXAMPLE,
        env=os.environ | {"PYTHONPATH": str(EXAMPLE)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_an_installed_cell_is_served_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model folder asks for it by its entry point's name; the network computes its equations, layer on layer."""
    monkeypatch.syspath_prepend(EXAMPLE)
    install(tmp_path / "site", "layer_norm_lstm = layer_norm_lstm:LayerNormLSTM", monkeypatch)
    from layer_norm_lstm import LayerNormLSTM  # type: ignore[import-not-found]  # known on the path since just now
    from test_layer_norm_lstm import step  # type: ignore[import-not-found]

    folder = write_model(tmp_path, "layer_norm_lstm", options={"epsilon": 1e-3})
    config = json.loads((folder / "config.json").read_text())
    shapes = parameter_shapes(parse_config(json.dumps(config).encode()).network_spec())
    generator = torch.Generator().manual_seed(0)
    parameters = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(parameters, folder / "model.safetensors")
    model = load_folder(folder)
    assert model.online
    assert model.network.spec.recurrent.layers[0].kind("forward") is LayerNormLSTM

    x = torch.randn(6, 3, generator=generator)
    outputs = model.network.scan(x, (1,) * 6, model.network.initial_state(1))
    values = x.double().numpy()
    for layer in (0, 1):
        own = {
            name.removeprefix("rnn.").removesuffix(f"_l{layer}"): tensor.double().numpy()
            for name, tensor in parameters.items()
            if name.endswith(f"_l{layer}")
        }
        state, rows = [np.zeros(4), np.zeros(4)], []
        for row in values:
            state = step(own, {"epsilon": 1e-3}, row, state)
            rows.append(state[0])
        values = np.stack(rows)
    np.testing.assert_allclose(outputs.numpy(), values, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("entry_point", "told"),
    [
        (
            "mine = no_such_module:Cell",
            "cell mine: no_such_module:Cell cannot be loaded (ModuleNotFoundError",
        ),
        (
            "mine = json:dumps",
            "cell mine: expected a subclass of gatehouse_server.cells.Cell, got json:dumps",
        ),
        (
            "other = json:dumps",
            "cell: expected one of lstm, gru, rnn, rnn_tanh, rnn_relu, other, got 'mine', "
            "which no installed package brings",
        ),
    ],
)
def test_a_cell_that_cannot_be_had_is_told_in_one_line(
    entry_point: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing or broken package fails the models that ask for it, with what is wrong."""
    install(tmp_path / "site", entry_point, monkeypatch)
    with pytest.raises(ModelFolderError) as raised:
        load_folder(write_model(tmp_path, "mine"))
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_options_that_a_cell_refuses_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell checks its own options, and options of the package's cells are none of them."""
    monkeypatch.syspath_prepend(EXAMPLE)
    install(tmp_path / "site", "layer_norm_lstm = layer_norm_lstm:LayerNormLSTM", monkeypatch)
    with pytest.raises(
        ModelFolderError, match="epsilno: not an option of layer_norm_lstm, which has epsilon"
    ):
        load_folder(write_model(tmp_path / "a", "layer_norm_lstm", options={"epsilno": 1e-3}))
    with pytest.raises(ModelFolderError, match="peepholes: not an option of cell layer_norm_lstm"):
        load_folder(write_model(tmp_path / "b", "layer_norm_lstm", peepholes=True))


@pytest.mark.parametrize(
    ("name", "method", "told"),
    [
        ("init", "def __init__(self, *arguments, **named):", "the network could not be built on cpu"),
        ("advance", "def advance(self, product, parts):", "the network could not be built on cpu"),
        ("shapes", "@classmethod\n    def parameter_shapes(cls, size):", "cannot be loaded"),
        ("options", "@classmethod\n    def check_options(cls, options):", "config.json: cannot be checked"),
    ],
    ids=["init", "advance", "shapes", "options"],
)
def test_a_cell_that_breaks_fails_its_model_alone(
    name: str, method: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it raises, and wherever: the model is told as failed, in one line, and the others are served."""
    models = tmp_path / "models"
    folder = write_model(models, "lstm")
    shapes = parameter_shapes(parse_config((folder / "config.json").read_bytes()).network_spec())
    save_file({each: torch.zeros(shape) for each, shape in shapes.items()}, folder / "model.safetensors")
    config = (folder / "config.json").read_text().replace('"lstm"', '"breaking"')
    (folder / "config.json").write_text(config)
    write_tiny_features(models / "motion" / "1")
    install(tmp_path / "site", f"breaking = breaking_{name}:Breaking", monkeypatch)
    (tmp_path / "site" / f"breaking_{name}.py").write_text(
        "from gatehouse_server.network.lstm import LSTM\n"
        f"class Breaking(LSTM):\n    {method}\n        raise KeyError('no such gate')\n"
    )
    served = Registry.load([models], embedded=None)
    assert [model.key for model in served.models] == ["motion@1"]
    (failure,) = served.failed
    assert failure.key == "own@1"
    assert f"{told} (KeyError: 'no such gate')" in failure.problem
    assert "\n" not in failure.problem


class _Broken(LSTM):
    """An LSTM that somebody got wrong in one place."""

    wrong = ""

    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        if self.wrong == "equations":
            product = product + 0.01
        super().advance(product, parts)
        if self.wrong == "rows":
            parts[0].mul_(1.0 + 1e-6 * (len(parts[0]) > 1))


def _lstm(parameters: Arrays, options: Options, x: np.ndarray, state: list[np.ndarray]) -> list[np.ndarray]:
    bias = parameters.get("bias_ih", 0.0) + parameters.get("bias_hh", 0.0)
    before = parameters["weight_ih"] @ x + parameters["weight_hh"] @ state[0] + bias
    i, f, g, o = np.split(before, 4)
    i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
    c = f * state[1] + i * np.tanh(g)
    return [o * np.tanh(c), c]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [("equations", "differs from the equations by"), ("rows", "other bits alone than in a batch")],
)
def test_the_harness_finds_what_is_wrong(wrong: str, told: str) -> None:
    """A cell that computes something else, or lets the batch show, does not pass."""
    check_cell(LSTM, _lstm)
    broken: type[Cell] = type("Broken", (_Broken,), {"wrong": wrong})
    with pytest.raises(AssertionError, match=told):
        check_cell(broken, _lstm)


def _documented() -> type[Cell]:
    """The class that docs/custom-cells.md shows."""
    page = (EXAMPLE.parents[1] / "docs" / "custom-cells.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    return cast(type[Cell], names["MinimalGatedUnit"])


def _minimal_gated_unit(
    parameters: Arrays, options: Options, x: np.ndarray, state: list[np.ndarray]
) -> list[np.ndarray]:
    (h,) = state
    zeros = np.zeros(2 * len(h))
    f_x, n_x = np.split(parameters["weight_ih"] @ x + parameters.get("bias_ih", zeros), 2)
    (U_f, U_n), (d_f, d_n) = (np.split(parameters.get(name, zeros), 2) for name in ("weight_hh", "bias_hh"))
    f = 1 / (1 + np.exp(-(f_x + U_f @ h + d_f)))
    n = np.tanh(n_x + U_n @ (f * h) + d_n)
    return [(1 - f) * h + f * n]


def test_the_cell_of_the_page_is_sound() -> None:
    """What is shown there computes its equations, and keeps all that the page asks for."""
    check_cell(_documented(), _minimal_gated_unit)


class _Tight(LSTM):
    """An LSTM whose gates lie close together, so that the next row begins where a row ends."""

    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        h, c = parts
        i, f, g, o = (gate.contiguous() for gate in self.gate_views(self.recurrent.product(h).add_(product)))
        c.copy_(f.sigmoid_() * c + i.sigmoid_() * (2 * g.sigmoid_() - 1))
        h.copy_(o.sigmoid_() * torch.tanh(c))


def test_gates_without_room_are_told_how_to_get_it() -> None:
    """Activations of odd widths show where a row lies, by their last bit."""
    with pytest.raises(AssertionError, match="no multiple of 32 wide"):
        check_cell(_Tight, _lstm)


class _Deciding(LSTM):
    """An LSTM whose step depends on what it sees, in a way that no recording has."""

    def advance(self, product: Tensor, parts: tuple[Tensor, ...]) -> None:
        if float(product.max()) > 1e9:
            parts[0].zero_()
        super().advance(product, parts)


def test_a_decision_that_looks_at_values_is_never_recorded() -> None:
    """It would be taken the same way for ever: the harness says so, and the server runs such a cell as written."""
    with pytest.raises(AssertionError, match="cannot be recorded: it decides by what it computes"):
        check_cell(_Deciding, _lstm)
