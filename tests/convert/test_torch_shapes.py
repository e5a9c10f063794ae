"""State dicts of torch's recurrent modules, of every shape: what is found in them, and that the numbers agree."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from gatehouse_server.convert.port import ConvertedModel, SourceOptions
from gatehouse_server.convert.torch_source import TorchSource
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from tests.convert.converting import WORDS, convert, converted
from tests.convert.torch_models import VOCABULARY, Classifier, LanguageModel, seeded


@st.composite
def modules(draw: st.DrawFn) -> nn.RNNBase:
    """An nn.LSTM, nn.GRU or nn.RNN."""
    kind = draw(st.sampled_from(["lstm", "gru", "rnn"]))
    hidden = draw(st.integers(1, 9))
    options = {
        "num_layers": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
    }
    size = draw(st.integers(1, 7))
    if kind == "lstm":
        projection = draw(st.integers(0, hidden - 1))
        return nn.LSTM(size, hidden, proj_size=projection, **options)
    if kind == "gru":
        return nn.GRU(size, hidden, **options)
    return nn.RNN(size, hidden, nonlinearity=draw(st.sampled_from(["tanh", "relu"])), **options)


def read(module: nn.Module, **options: object) -> ConvertedModel:
    """What the torch source makes of a module's state dict."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pt"
        torch.save(module.state_dict(), path)
        return TorchSource().read(path, SourceOptions(**options))  # type: ignore[arg-type]


@given(module=modules(), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_sizes_are_told_by_shapes(module, seed):
    """Cell, sizes, layers, directions, projection and bias of a recurrent module are those it was made with."""
    activation = getattr(module, "nonlinearity", None)
    found = read(seeded(module, seed), activation=activation)
    kind = {"LSTM": "lstm", "GRU": "gru"}.get(type(module).__name__, f"rnn_{activation}")
    assert found.config["recurrent"] == {
        "cell": kind,
        "input_size": module.input_size,
        "hidden_size": module.hidden_size,
        "projection_size": module.proj_size,
        "layers": module.num_layers,
        "bias": module.bias,
        "bidirectional": module.bidirectional,
    }
    assert {f"rnn.{name}" for name in module.state_dict()} == set(found.parameters)


@given(module=modules(), seed=st.integers(0, 99))
@settings(max_examples=6, deadline=None)
def test_a_bare_module_becomes_an_encoder_with_its_numbers(module, seed):
    """Whole conversions of bare modules end with a difference from torch near rounding."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bare.safetensors"
        save_file(seeded(module, seed).state_dict(), path)
        activation = getattr(module, "nonlinearity", None)
        options = () if activation is None else ("--activation", activation)
        model = converted(path, Path(folder) / "models", *options)
        x = torch.randn(5, 2, module.input_size)
        with torch.no_grad():
            expected = module(x)[0]
        outputs = model.network.encode(x.reshape(10, -1), [2] * 5).view(5, 2, -1)
        assert model.config.task == "encoder"
        torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_is_recognised(tmp_path, tied):
    """A head as wide as the embedding is long makes a language model; equal weights are tied."""
    module = seeded(LanguageModel(tied=tied))
    torch.save(module.state_dict(), tmp_path / "lm.pt")
    model = converted(tmp_path / "lm.pt", tmp_path / "models", *WORDS)
    assert model.key == "lm@1"
    assert model.config.task == "language_model"
    assert model.config.head.tied == tied
    ids = torch.randint(VOCABULARY, (6, 2))
    with torch.no_grad():
        expected = module(ids).reshape(12, -1)
    logits = model.network.head.logits(model.network.encode(ids.reshape(12), [2] * 6))[:, :VOCABULARY]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_a_classifier_of_both_directions(tmp_path):
    """Pooling and labels come from the command line; pooling `last` is torch's h_n, and the notes say so."""
    module = seeded(Classifier())
    torch.save(module.state_dict(), tmp_path / "topics.pt")
    options = ["--pooling", "last", "--labels", "a,b,c", *WORDS]
    output = convert(tmp_path / "topics.pt", tmp_path / "first", *options)
    assert "output[:, -1]" in output
    model = converted(tmp_path / "topics.pt", tmp_path / "models", *options)
    assert model.labels == ("a", "b", "c")
    ids = torch.randint(VOCABULARY, (2, 7))
    with torch.no_grad():
        expected = module(ids)
    pooled = model.network.summarize(ids.t().reshape(14), [2] * 7)
    torch.testing.assert_close(model.network.head.logits(pooled)[:, :3], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "max", "last,mean", "max,mean,last"])
def test_heads_read_as_many_poolings_as_are_told(tmp_path, pooling):
    """A head of two or three times the recurrent width reads so many poolings, in the order that was told."""
    kinds = pooling.split(",")
    parts = {"gru": nn.GRU(4, 6), "out": nn.Linear(6 * len(kinds), 2)}
    torch.save(seeded(nn.ModuleDict(parts)).state_dict(), tmp_path / "m.pt")
    output = convert(tmp_path / "m.pt", tmp_path / "models", "--pooling", pooling, "--task", "regressor")
    assert "regressor" in output
    model = converted(
        tmp_path / "m.pt", tmp_path / "again", "--pooling", pooling, "--labels", "a,b", "--scores", "sigmoid"
    )
    assert model.config.pooling == tuple(kinds)
    assert model.config.head.kind == "sigmoid"


def test_an_output_at_each_step(tmp_path):
    """`--pooling none` makes a regressor that answers at each step, and runs sessions."""
    torch.save(
        seeded(nn.ModuleDict({"rnn": nn.RNN(3, 5), "head": nn.Linear(5, 2)})).state_dict(), tmp_path / "m.pt"
    )
    model = converted(
        tmp_path / "m.pt",
        tmp_path / "models",
        *["--pooling", "none", "--task", "regressor", "--activation", "tanh", "--feature-names", "x,y,z"],
    )
    assert model.online
    assert model.config.input.names == ("x", "y", "z")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_types_become_float32(tmp_path, kind):
    """Weights of other types are converted, and a note says so."""
    module = seeded(nn.LSTM(3, 4)).to(kind)
    torch.save(module.state_dict(), tmp_path / "m.pt")
    output = convert(tmp_path / "m.pt", tmp_path / "models")
    assert f"4 of 4 tensors were {str(kind).removeprefix('torch.')}, and are float32 now" in output


def test_single_cells(tmp_path):
    """Two numbered `nn.LSTMCell` are two layers."""
    cells = nn.ModuleDict({"cells": nn.ModuleList([nn.LSTMCell(3, 4), nn.LSTMCell(4, 5)])})
    torch.save(seeded(cells).state_dict(), tmp_path / "m.pt")
    layers = converted(tmp_path / "m.pt", tmp_path / "models").network.spec.recurrent.layers
    assert [(layer.input_size, layer.hidden_size) for layer in layers] == [(3, 4), (4, 5)]
