"""Arrays with any names, made into parameters by a mapping file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from tests.convert.converting import WORDS, convert, converted, refusal
from tests.convert.torch_models import seeded

N, H = 3, 4


def sections(cell: str, **more: object) -> dict[str, object]:
    """The sections of config.json for one layer that reads features."""
    recurrent = {"cell": cell, "input_size": N, "hidden_size": H, **more}
    return {"input": {"kind": "features", "size": N}, "recurrent": recurrent}


def mapping(folder: Path, config: object, parameters: object, **more: object) -> list[str]:
    """The option that names a mapping file, which is written."""
    path = folder / "map.json"
    path.write_text(json.dumps({"config": config, "parameters": parameters, **more}))
    return ["--mapping", str(path)]


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers that are all different."""
    return np.random.default_rng(seed).normal(0, 0.4, shape).astype(np.float32)


def test_gates_are_put_in_our_order(tmp_path):
    """A matrix in ONNX's order of gates, i o f c, gives what torch's order gives."""
    lstm = seeded(nn.LSTM(N, H))
    state = {name: tensor.detach().numpy() for name, tensor in lstm.state_dict().items()}
    i, f, g, o = (slice(at * H, at * H + H) for at in range(4))
    arrays = {name: np.concatenate([array[part] for part in (i, o, f, g)]) for name, array in state.items()}
    np.savez(tmp_path / "m.npz", **arrays)
    recipes = {f"rnn.{name}": {"source": name, "gates": "iofc"} for name in arrays}
    model = converted(tmp_path / "m.npz", tmp_path / "models", *mapping(tmp_path, sections("lstm"), recipes))
    x = torch.randn(6, 1, N)
    with torch.no_grad():
        expected = lstm(x)[0].view(6, H)
    torch.testing.assert_close(model.network.encode(x.view(6, N), [1] * 6), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("layout", ["npz", "folder", "safetensors", "pt"])
def test_arrays_are_read_from_all_that_holds_them(tmp_path, layout):
    """One mapping reads an `.npz`, a folder of `.npy`, and torch's files, nested ones by the names on the way."""
    arrays = {"net/w": drawn(H, N, seed=1), "net/u": drawn(H, H, seed=2), "net/b": drawn(H, seed=3)}
    source = tmp_path / f"m.{layout}" if layout != "folder" else tmp_path / "m"
    if layout == "npz":
        np.savez(source, **arrays)
    elif layout == "folder":
        (source / "net").mkdir(parents=True)
        for name, array in arrays.items():
            np.save(source / f"{name}.npy", array)
    elif layout == "safetensors":
        save_file(arrays, source)
    else:
        held = {name.partition("/")[2]: torch.from_numpy(array) for name, array in arrays.items()}
        torch.save({"net": held, "epoch": 3}, source)
    separator = "." if layout == "pt" else "/"
    recipes = {
        "rnn.weight_ih_l0": f"net{separator}w",
        "rnn.weight_hh_l0": f"net{separator}u",
        "rnn.bias_ih_l0": f"net{separator}b",
        "rnn.bias_hh_l0": {"value": 0.0},
    }
    options = mapping(tmp_path, sections("rnn_tanh"), recipes)
    output = convert(source, tmp_path / "models", "--name", "m", *options)
    assert "4 parameters made of 3 arrays" in output
    x, h, y = drawn(5, N, seed=4), np.zeros(H), []
    for row in x:
        h = np.tanh(arrays["net/w"] @ row + arrays["net/u"] @ h + arrays["net/b"])
        y.append(h)
    np.savez(tmp_path / "x.npz", x)
    np.save(tmp_path / "y.npy", y)
    checks = ["--check-inputs", str(tmp_path / "x.npz"), "--check-outputs", str(tmp_path / "y.npy")]
    assert "of 20 scores" in convert(source, tmp_path / "models", "--name", "checked", *options, *checks)


def test_a_joint_matrix_is_taken_apart(tmp_path):
    """`part` takes a layer's own columns of a matrix for input and state, whichever comes first."""
    joint = drawn(H, N + H)
    swapped = np.concatenate([joint[:, N:], joint[:, :N]], axis=1)
    np.savez(tmp_path / "a.npz", k=joint.T)
    np.savez(tmp_path / "b.npz", k=swapped)
    prints = []
    for name, more in (("a", {"transpose": True}), ("b", {"recurrent_first": True})):
        recipes = {
            "rnn.weight_ih_l0": {"source": "k", "part": "input", **more},
            "rnn.weight_hh_l0": {"source": "k", "part": "recurrent", **more},
        }
        options = mapping(tmp_path, sections("rnn_relu", bias=False), recipes)
        output = convert(tmp_path / f"{name}.npz", tmp_path / name, "--name", "m", *options)
        prints.append(output.partition("fingerprint")[2].split()[0])
    assert prints[0] == prints[1]


def test_joined_sources_slices_scales_and_constants(tmp_path):
    """Sources are joined by rows; rows and columns are cut; single gates are scaled and added to."""
    gates, candidate, bias = drawn(2 * H, N), drawn(H, N, seed=1), drawn(1, 3 * H + 2, seed=2)
    np.savez(tmp_path / "m.npz", gates=gates, candidate=candidate, hh=drawn(3 * H, H + 1), bias=bias.T)
    recipes = {
        # Of this source u is what is 1 - z here, so its sign is turned: sigmoid(-a) = 1 - sigmoid(a).
        "rnn.weight_ih_l0": {"source": ["gates", "candidate"], "gates": "ruc", "scale": {"u": -1}},
        "rnn.weight_hh_l0": {"source": "hh", "columns": [1, H + 1], "scale": 0.5},
        "rnn.bias_ih_l0": {"source": "bias", "rows": [2, 3 * H + 2], "gates": "hrz", "add": {"r": 1.5}},
        "rnn.bias_hh_l0": {"value": 0.25},
    }
    model = converted(
        tmp_path / "m.npz", tmp_path / "models", *mapping(tmp_path, sections("gru", reset="before"), recipes)
    )
    made = {matrix.name: matrix for matrix in model.parameters}
    assert set(made) == set(recipes)
    from safetensors.numpy import load_file

    weights = load_file(tmp_path / "models" / "m" / "1" / "model.safetensors")
    np.testing.assert_array_equal(
        weights["rnn.weight_ih_l0"], np.concatenate([gates[:H], -gates[H:], candidate])
    )
    np.testing.assert_array_equal(weights["rnn.weight_hh_l0"], drawn(3 * H, H + 1)[:, 1:] * 0.5)
    h, r, z = bias[0, 2:].reshape(3, H)
    np.testing.assert_allclose(weights["rnn.bias_ih_l0"], np.concatenate([r + 1.5, z, h]), rtol=1e-6)
    assert (weights["rnn.bias_hh_l0"] == 0.25).all()


def test_a_whole_language_model_is_mapped(tmp_path):
    """Embedding, head, and what the config says of them come through; vectors can prove the numbers."""
    V, E = 7, 3
    arrays = {
        "e": drawn(V, E),
        "w": drawn(H, E, seed=1),
        "u": drawn(H, H, seed=2),
        "out": drawn(H, V, seed=3),
        "adam/m": drawn(2),
    }
    np.savez(tmp_path / "m.npz", **arrays)
    config = {
        "input": {"kind": "tokens", "vocabulary_size": V, "embedding_size": E},
        "recurrent": {"cell": "rnn_tanh", "input_size": E, "hidden_size": H, "bias": False},
        "head": {"kind": "softmax", "size": V, "bias": False},
        "task": "language_model",
    }
    recipes = {
        "embedding.weight": "e",
        "rnn.weight_ih_l0": "w",
        "rnn.weight_hh_l0": "u",
        "head.weight": {"source": "out", "transpose": True},
    }
    ids = np.array([3, 0, 6, 6, 1])
    rows, h = [], np.zeros(H)
    for token in ids:
        h = np.tanh(arrays["w"] @ arrays["e"][token] + arrays["u"] @ h)
        powers = np.exp(h @ arrays["out"])
        rows.append(powers / powers.sum())
    np.save(tmp_path / "x.npy", ids)
    np.save(tmp_path / "y.npy", np.log(rows))
    options = mapping(tmp_path, config, recipes, ignore=["adam/*"])
    checks = ["--check-inputs", str(tmp_path / "x.npy"), "--check-outputs", str(tmp_path / "y.npy")]
    output = convert(
        tmp_path / "m.npz", tmp_path / "models", *options, *WORDS, *checks, "--check-form", "log_scores"
    )
    assert "at most, of 35 log scores" in output
    assert "answers differ" in refusal(
        tmp_path / "m.npz", tmp_path / "models", "--name", "other", *options, *WORDS, *checks
    )


RECIPES = {
    "rnn.weight_ih_l0": {"source": "w", "gates": "ifgo"},
    "rnn.weight_hh_l0": {"source": "u", "gates": "ifgo"},
}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rnn.weight_ih_l0": None}, "lacks recipes for rnn.weight_ih_l0"),
        (
            {"rnn.bias_ih_l0": "w"},
            "has recipes for rnn.bias_ih_l0, which the network of its config has no place for",
        ),
        ({"rnn.weight_ih_l0": "x"}, "rnn.weight_ih_l0: the source has no 'x'; it has u, w"),
        ({"rnn.weight_ih_l0": "u"}, "rnn.weight_ih_l0: expected (16, 3), the recipe gives (16, 4)"),
        (
            {"rnn.weight_ih_l0": {"source": "w", "transpose": True}},
            "expected (16, 3), the recipe gives (3, 16)",
        ),
        (
            {"rnn.weight_ih_l0": {"source": "w", "gates": "ifg"}},
            "expected each of i, f, g, o once in some order",
        ),
        (
            {"rnn.weight_ih_l0": {"source": "w", "gates": "iffo"}},
            "expected each of i, f, g, o once in some order",
        ),
        ({"rnn.weight_ih_l0": {"source": "w", "add": {"f": 1}}}, "need the order of the gates"),
        (
            {"rnn.weight_ih_l0": {"source": "w", "gates": "ifgo", "add": {"j": 1}}},
            "gate 'j' is not in gates 'ifgo'",
        ),
        (
            {"rnn.weight_ih_l0": {"source": "w", "part": "input"}},
            "expected 7 columns, those of input and state",
        ),
        ({"rnn.weight_ih_l0": {"source": "w", "rows": [0, 17]}}, "rows [0, 17] are not all there in (16, 3)"),
        ({"rnn.weight_ih_l0": {"source": "w", "rows": [5, 5]}}, "expected from, and to above it"),
        ({"rnn.weight_ih_l0": {"source": ["w", "u"]}}, "(16, 3) and (16, 4) cannot be joined by rows"),
        ({"rnn.weight_ih_l0": {"source": "w", "value": 1.0}}, "expected a source or a value"),
        ({"rnn.weight_ih_l0": {}}, "expected a source or a value"),
        (
            {"rnn.weight_ih_l0": {"source": "w", "transposed": True}},
            "parameters.rnn.weight_ih_l0.transposed: Extra",
        ),
    ],
)
def test_recipes_that_lead_nowhere(tmp_path, changes, problem):
    """A recipe that does not give its parameter is told by the parameter's name."""
    np.savez(tmp_path / "m.npz", w=drawn(4 * H, N), u=drawn(4 * H, H))
    recipes = {name: recipe for name, recipe in {**RECIPES, **changes}.items() if recipe is not None}
    options = mapping(tmp_path, sections("lstm", bias=False), recipes)
    assert problem in refusal(tmp_path / "m.npz", tmp_path / "models", *options)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "Invalid JSON"),
        ("[]", "--mapping"),
        ('{"config": {}}', "parameters: Field required"),
        ('{"config": {}, "parameters": {}}', "config.input: Field required"),
        (json.dumps({"config": sections("lstn"), "parameters": {}}), "cell: expected one of"),
        (json.dumps({"config": sections("gru", peepholes=True), "parameters": {}}), "peepholes"),
        (json.dumps({"config": sections("lstm") | {"conv": 1}, "parameters": {}}), "config.conv"),
        (json.dumps({"config": sections("lstm", layers=10**9), "parameters": {}}), "config.recurrent.layers"),
        (
            json.dumps({"config": sections("lstm", layers=[{"hidden_size": 2**30}]), "parameters": {}}),
            "asks for",
        ),
    ],
)
def test_mappings_that_are_none(tmp_path, content, problem):
    """A mapping that can't be read, or describes no network, is told by key."""
    np.savez(tmp_path / "m.npz", w=drawn(2))
    (tmp_path / "map.json").write_text(content)
    line = refusal(tmp_path / "m.npz", tmp_path / "models", "--mapping", str(tmp_path / "map.json"))
    assert problem in line


def test_arrays_that_are_not_used(tmp_path):
    """What the mapping does not use is named, unless it is to be ignored."""
    np.savez(tmp_path / "m.npz", w=drawn(4 * H, N), u=drawn(4 * H, H), b=drawn(4 * H))
    line = refusal(
        tmp_path / "m.npz", tmp_path / "models", *mapping(tmp_path, sections("lstm", bias=False), RECIPES)
    )
    assert "the source also holds b, which the mapping does not use" in line


def test_arrays_without_a_mapping(tmp_path):
    """Bare arrays are of no network, and options that the mapping file says are refused beside it."""
    np.savez(tmp_path / "m.npz", w=drawn(4 * H, N), u=drawn(4 * H, H))
    assert "say it with --mapping FILE" in refusal(tmp_path / "m.npz", tmp_path / "models")
    options = mapping(tmp_path, sections("lstm", bias=False), RECIPES)
    line = refusal(tmp_path / "m.npz", tmp_path / "models", *options, "--as", "encoder", "--pooling", "last")
    assert line.startswith("--as encoder, --pooling: the mapping file says all that")
    missing = ["--mapping", str(tmp_path / "none.json")]
    assert "cannot be read" in refusal(tmp_path / "m.npz", tmp_path / "models", *missing)
