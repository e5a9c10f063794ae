"""The names under which state dicts keep their weights: prefixes, wrappers, checkpoints, copies."""

import json
import re
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.convert.converting import WORDS, convert, converted, refusal
from tests.convert.torch_models import LanguageModel, seeded


@pytest.fixture
def state() -> dict[str, Tensor]:
    """The state dict of a language model."""
    return dict(seeded(LanguageModel()).state_dict())


def fingerprint(output: str) -> str:
    """The fingerprint that a conversion printed."""
    found = re.search(r"^  fingerprint  ([0-9a-f]{64})$", output, flags=re.MULTILINE)
    assert found is not None
    return found[1]


def prefixed(prefix: str) -> Callable[[dict[str, Tensor]], object]:
    """Puts something before all names."""
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "checkpoint",
    [
        prefixed("module."),
        prefixed("_orig_mod.model.net."),
        lambda state: {"state_dict": state, "epoch": 3, "loss": 0.5},
        lambda state: {
            "ema": {name: 2 * tensor for name, tensor in state.items()},
            "model": state,
            "args": {"lr": 0.1},
        },
        lambda state: {"epoch": 1, "checkpoint": {"model_state_dict": state, "best": [1.0, 2.0]}},
        lambda state: {
            "encoder": {"weight": state["encoder.weight"]},
            "rnn": {name[4:]: tensor for name, tensor in state.items() if name.startswith("rnn.")},
            "decoder": {"weight": state["decoder.weight"], "bias": state["decoder.bias"]},
        },
        lambda state: {
            "model": state,
            "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        },
    ],
    ids=["module.", "compiled", "state_dict", "model and ema", "nested", "in parts", "with optimizer"],
)
def test_weights_are_found_wherever_they_are(tmp_path, state, checkpoint):
    """Prefixes and checkpoints around a state dict make no difference to the model that is made."""
    torch.save(state, tmp_path / "lm.pt")
    torch.save(checkpoint(state), tmp_path / "wrapped.pt")
    plain = convert(tmp_path / "lm.pt", tmp_path / "plain", *WORDS)
    wrapped = convert(tmp_path / "wrapped.pt", tmp_path / "wrapped", "--name", "lm", *WORDS)
    assert fingerprint(plain) == fingerprint(wrapped)


def test_a_checkpoint_of_several_models_is_not_guessed_at(tmp_path, state):
    """Of several state dicts without a usual name none is taken."""
    torch.save({"first": {"net1": state}, "second": {"net2": dict(state)}}, tmp_path / "m.pt")
    line = refusal(tmp_path / "m.pt", tmp_path / "models", *WORDS)
    assert "holds several sets of recurrent weights (first.net1, second.net2)" in line
    assert "torch.save(checkpoint['first']['net1'], \"weights.pt\")" in line


def test_weight_drop_keeps_the_raw_weights(tmp_path):
    """Of a weight-drop the raw weights count, not the dropped ones that the module was left with."""
    lstm = seeded(nn.LSTM(4, 6))
    torch.save(lstm.state_dict(), tmp_path / "plain.pt")
    dropped = {f"0.rnns.0.module.{name}": tensor for name, tensor in lstm.state_dict().items()}
    dropped["0.rnns.0.weight_hh_l0_raw"] = dropped["0.rnns.0.module.weight_hh_l0"]
    dropped["0.rnns.0.module.weight_hh_l0"] = torch.zeros(24, 6)
    torch.save(dropped, tmp_path / "dropped.pt")
    plain = convert(tmp_path / "plain.pt", tmp_path / "models", "--name", "m")
    output = convert(tmp_path / "dropped.pt", tmp_path / "again", "--name", "m")
    assert fingerprint(output) == fingerprint(plain)
    assert "raw weights of a weight-drop are used: weight_hh_l0" in output


def test_raw_weights_inside_the_wrapped_module(tmp_path):
    """The raw weights may also be the only ones."""
    state = seeded(nn.LSTM(4, 6)).state_dict()
    state["weight_hh_l0_raw"] = state.pop("weight_hh_l0")
    torch.save({f"rnns.0.module.{name}": tensor for name, tensor in state.items()}, tmp_path / "m.pt")
    assert "24" not in convert(tmp_path / "m.pt", tmp_path / "models").splitlines()[1]


def test_numbered_modules_are_a_stack(tmp_path):
    """Modules that differ by a number and fit each other are layers of different sizes, counted as people count."""
    sizes = [3, *range(4, 15)]
    rnns = nn.ModuleList([nn.GRU(size, above) for size, above in pairwise(sizes)])
    save_file(seeded(nn.ModuleDict({"rnns": rnns})).state_dict(), tmp_path / "m.safetensors")
    convert(tmp_path / "m.safetensors", tmp_path / "models")
    config = json.loads((tmp_path / "models" / "m" / "1" / "config.json").read_text())
    assert [layer["hidden_size"] for layer in config["recurrent"]["layers"]] == sizes[1:]


def test_modules_with_other_names_are_asked_about(tmp_path):
    """An encoder and a decoder may fit each other by accident, so one has to be named, or an order."""
    parts = {"enc": nn.LSTM(4, 4), "dec": nn.GRU(4, 4)}
    torch.save(seeded(nn.ModuleDict(parts)).state_dict(), tmp_path / "m.pt")
    line = refusal(tmp_path / "m.pt", tmp_path / "models")
    assert "holds several recurrent modules: dec (gru 4 to 4), enc (lstm 4 to 4)" in line
    assert "cannot serve a recurrent module `dec`" in refusal(
        tmp_path / "m.pt", tmp_path / "models", "--recurrent", "enc"
    )
    stacked = converted(tmp_path / "m.pt", tmp_path / "models", "--recurrent", "enc,dec")
    assert [layer.cell for layer in stacked.network.spec.recurrent.layers] == ["lstm", "gru"]
    alone = converted(tmp_path / "m.pt", tmp_path / "alone", "--recurrent", "dec", "--as", "encoder")
    assert [layer.cell for layer in alone.network.spec.recurrent.layers] == ["gru"]


def test_modules_that_do_not_read_each_other(tmp_path):
    """An order in which sizes do not fit is refused, and so is a name that is not there."""
    parts = {"low": nn.LSTM(4, 5), "high": nn.LSTM(5, 6)}
    torch.save(seeded(nn.ModuleDict(parts)).state_dict(), tmp_path / "m.pt")
    line = refusal(tmp_path / "m.pt", tmp_path / "models", "--recurrent", "high,low")
    assert "low reads 4 values, high hands on 6" in line
    assert "there is no recurrent module of that name" in refusal(
        tmp_path / "m.pt", tmp_path / "models", "--recurrent", "middle"
    )


def test_a_copy_of_the_embedding_is_no_further_layer(tmp_path, state):
    """Wrappers keep an embedding twice (`encoder_dp.emb.weight`); the copy is neither a head nor left over."""
    torch.save(state | {"encoder_dp.emb.weight": state["encoder.weight"]}, tmp_path / "m.pt")
    assert "embedding from encoder" in convert(tmp_path / "m.pt", tmp_path / "models", *WORDS)


@pytest.mark.parametrize("options", [[], ["--head", "tied"]])
def test_a_tied_head_whose_weight_was_not_saved(tmp_path, options):
    """A bias as long as the vocabulary, alone, is of a head whose weight is the embedding's."""
    state = dict(seeded(LanguageModel(tied=True)).state_dict())
    torch.save(state, tmp_path / "lm.pt")
    del state["decoder.weight"]
    torch.save(state, tmp_path / "short.pt")
    whole = convert(tmp_path / "lm.pt", tmp_path / "models", *WORDS)
    short = convert(tmp_path / "short.pt", tmp_path / "again", "--name", "lm", *options, *WORDS)
    assert fingerprint(whole) == fingerprint(short)
    assert "head from decoder, whose weight is the embedding's" in short


def test_a_tied_head_without_a_bias_has_to_be_told(tmp_path):
    """Where nothing of the head was saved, only the command line can say that there is one."""
    state = {
        name: tensor
        for name, tensor in seeded(LanguageModel(tied=True)).state_dict().items()
        if not name.startswith("decoder.")
    }
    torch.save(state, tmp_path / "m.pt")
    assert "encoder" in convert(tmp_path / "m.pt", tmp_path / "models", *WORDS).splitlines()[0]
    output = convert(tmp_path / "m.pt", tmp_path / "again", "--head", "tied", *WORDS)
    assert "language model" in output
    assert "head without a bias, whose weight is the embedding's" in output


def test_names_on_the_command_line_decide(tmp_path):
    """Embedding and head can be named where names and shapes leave it open."""
    square = {
        "a": nn.Embedding(6, 6),
        "b": nn.LSTM(6, 6),
        "c": nn.Linear(6, 6, bias=False),
    }
    torch.save(seeded(nn.ModuleDict(square)).state_dict(), tmp_path / "m.pt")
    assert "can't tell which is the embedding" in refusal(tmp_path / "m.pt", tmp_path / "models", *WORDS)
    output = convert(tmp_path / "m.pt", tmp_path / "models", "--embedding", "a", *WORDS)
    assert "embedding from a" in output
    assert "head from c" in output
    assert "there is no module of that name" in refusal(
        tmp_path / "m.pt", tmp_path / "models", "--embedding", "d", *WORDS
    )
    assert "--embedding b: there is no module" in refusal(
        tmp_path / "m.pt", tmp_path / "models", "--embedding", "b", *WORDS
    )
