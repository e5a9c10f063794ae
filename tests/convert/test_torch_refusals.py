"""State dicts that can't be served, or that leave something open: one line each, and nothing written."""

import pytest
import torch
from torch import Tensor, nn

from tests.convert.converting import WORDS, convert, converted, refusal
from tests.convert.torch_models import LanguageModel, seeded


class Speech(nn.Module):
    """A recurrent layer with nearly everything around it that people put there."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3)
        self.bn = nn.BatchNorm1d(8)
        self.rnn = nn.GRU(8, 6)
        self.norm = nn.LayerNorm(6)
        self.attention = nn.MultiheadAttention(6, 2)
        self.fc1 = nn.Linear(6, 6)
        self.fc2 = nn.Linear(6, 2)


AROUND = (
    "a convolution `conv` (weight (8, 4, 3))",
    "a batch normalisation `bn` (weight (8))",
    "a layer normalisation `norm` (weight (6))",
    "attention `attention` (in_proj_weight (18, 6))",
    "attention `attention.out_proj` (weight (6, 6))",
    "a dense layer `fc1` (weight (6, 6))",
    "a dense layer `fc2` (weight (2, 6))",
)


@pytest.fixture
def speech(tmp_path):
    torch.save(seeded(Speech()).state_dict(), tmp_path / "speech.pt")
    return tmp_path / "speech.pt"


def test_what_lies_around_is_named(tmp_path, speech):
    """Layers that nothing here computes are named, each with its shape, and the offer is made."""
    line = refusal(speech, tmp_path / "models")
    assert line.startswith("cannot serve ")
    for part in AROUND:
        assert part in line
    assert line.endswith("--as encoder serves the recurrent part alone, without them")


def test_the_recurrent_part_alone(tmp_path, speech):
    """`--as encoder` serves it, tells what was left out, and writes that into the card."""
    output = convert(speech, tmp_path / "models", "--as", "encoder")
    card = (tmp_path / "models" / "speech" / "1" / "card.md").read_text()
    for part in AROUND:
        assert f"left out     {part}" in output
        assert f"left out: {part}" in card
    x = torch.randn(5, 3, 8)
    module = seeded(Speech())
    with torch.no_grad():
        expected = module.rnn(x)[0]
    model = converted(speech, tmp_path / "again", "--as", "encoder")
    torch.testing.assert_close(
        model.network.encode(x.reshape(15, 8), [3] * 5).view(5, 3, 6), expected, atol=1e-5, rtol=1e-5
    )


def test_an_encoder_keeps_its_embedding(tmp_path):
    """The embedding that the recurrent layers read is part of the encoder; the head is left out."""
    torch.save(seeded(LanguageModel()).state_dict(), tmp_path / "lm.pt")
    model = converted(tmp_path / "lm.pt", tmp_path / "models", "--as", "encoder", "--pooling", "mean", *WORDS)
    assert (model.config.task, model.config.head, model.config.pooling) == ("encoder", None, ("mean",))
    assert model.config.input.kind == "tokens"


def broken(**changes: Tensor | None) -> dict[str, Tensor]:
    """The state dict of an nn.LSTM(3, 4, num_layers=2) with other tensors, or without some."""
    state = dict(seeded(nn.LSTM(3, 4, num_layers=2)).state_dict())
    for name, tensor in changes.items():
        if tensor is None:
            del state[name]
        else:
            state[name] = tensor
    return state


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (broken(weight_hh_l1=None), "lacks weight_hh_l1 (lstm, 2 layers)"),
        (broken(weight_ih_l0=None), "lacks weight_ih_l0"),
        (
            broken(weight_ih_l1=None, weight_hh_l1=None),
            "lacks weight_ih_l1, weight_hh_l1 (lstm, 2 layers)",
        ),
        (broken(bias_hh_l0=None, bias_hh_l1=None), "lacks bias_hh_l0, bias_hh_l1"),
        (broken(weight_ih_l0_reverse=torch.ones(16, 3)), "lacks weight_hh_l0_reverse"),
        (broken(weight_ih_l999=torch.ones(16, 3)), "layers up to 999 are named, most are missing"),
        (
            broken(weight_hh_l0=torch.ones(16, 5)),
            "(16, 5) is of no LSTM (4 H, H), GRU (3 H, H) or RNN (H, H)",
        ),
        (broken(weight_hh_l0=torch.ones(8, 4)), "(8, 4) is of no LSTM"),
        (broken(weight_hh_l0=torch.ones(16)), "expected two axes, got (16, 3) and (16)"),
        (broken(weight_ih_l1=torch.ones(16, 7)), "weight_ih_l1: expected (16, 4) beside the others"),
        (broken(bias_ih_l1=torch.ones(12)), "bias_ih_l1: expected (16)"),
        (broken(weight_hr_l0=torch.ones(2, 4)), "is of no LSTM"),
        (
            broken(weight_hh_l0=torch.ones(16, 4, dtype=torch.int8)),
            "expected floating-point numbers, got int8",
        ),
        (broken(weight_hh_l0=torch.full((16, 4), float("nan"))), "values that are not finite"),
        (broken(weight_hh_l0=torch.full((16, 4), 1e300, dtype=torch.float64)), "values that are not finite"),
        (broken(weight_hh_l0=torch.ones(16, 4).to_sparse()), "expected a dense tensor"),
        (broken(weight_hh_l0=torch.ones(16, 4, device="meta")), "expected a dense tensor"),
        (broken(weight_hr_l0=torch.ones(4)), "expected two axes, got (16, 3) and (16, 4) and (4)"),
        (broken(weight_hh_l0=torch.ones(1, 1).expand(16, 4)), "64 numbers, of which 1 are stored"),
        (broken(weight_hh_l0_g=torch.ones(16, 1)), "are normalised or pruned"),
        ({"weight": torch.ones(3, 3)}, "holds no weights of nn.LSTM, nn.GRU or nn.RNN"),
        ({}, "holds no weights of nn.LSTM, nn.GRU or nn.RNN"),
        ([torch.ones(3)], "expected a state dict, got list"),
        (torch.ones(3), "expected a state dict, got Tensor"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, state, problem):
    """Missing, surplus and misshapen weights are each told by name."""
    torch.save(state, tmp_path / "m.pt")
    assert problem in refusal(tmp_path / "m.pt", tmp_path / "models")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "say it with --pooling"),
        (["--pooling", "last"], "say it with --task"),
        (["--pooling", "last", "--task", "classifier"], "needs its 2 labels"),
        (["--pooling", "last", "--labels", "a,b,c"], "labels: expected 2 as head.size, got 3"),
        (["--pooling", "last", "--labels", "a,a"], "labels: expected each label once"),
        (["--pooling", "first", "--task", "regressor"], "pooling"),
        (["--pooling", "last,mean", "--task", "regressor"], "cannot serve a dense layer `out`"),
        (["--pooling", "last", "--labels", "there-is/none.txt"], "there is no such file"),
        (["--pooling", "last", "--task", "language_model"], "expected input.kind tokens, got features"),
        (["--pooling", "last", "--task", "regressor", "--labels", "a,b"], "labels are for classifiers only"),
        (
            ["--pooling", "last", "--task", "regressor", "--scores", "softmax"],
            "expected linear for task regressor",
        ),
        (
            ["--pooling", "last", "--task", "regressor", *WORDS],
            "--vocab, --unknown-token: this model takes feature vectors",
        ),
        (["--pooling", "last", "--task", "regressor", "--feature-names", "x"], "expected 4 names"),
        (["--pooling", "last", "--task", "regressor", "--activation", "tanh"], "is of gru cells"),
        (["--pooling", "last", "--task", "regressor", "--name", "Über"], "name: string should match pattern"),
        (
            ["--pooling", "last", "--task", "regressor", "--version", "../1"],
            "version: string should match pattern",
        ),
        (["--pooling", "last", "--head", "nothing"], "--head nothing: there is no module of that name"),
        (["--pooling", "last", "--head", "none"], "cannot serve a dense layer `out`"),
        (["--pooling", "last", "--head", "tied"], "there is no embedding to share"),
        (["--scores", "softmax", "--as", "encoder"], "the model has no output layer"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, problem):
    """What the state dict leaves open has to be said, and what contradicts it is refused."""
    parts = {"rnn": nn.GRU(4, 5), "out": nn.Linear(5, 2)}
    torch.save(seeded(nn.ModuleDict(parts)).state_dict(), tmp_path / "m.pt")
    assert problem in refusal(tmp_path / "m.pt", tmp_path / "models", *options)


def test_a_simple_cell_needs_its_activation(tmp_path):
    """No file tells whether an nn.RNN is of tanh or of ReLU, so it is asked."""
    torch.save(nn.RNN(2, 3).state_dict(), tmp_path / "m.pt")
    assert "say it with --activation tanh" in refusal(tmp_path / "m.pt", tmp_path / "models")


def test_names_of_anyone_do_nothing_to_a_terminal(tmp_path):
    """Names come from the file: line ends and escapes in them are not printed, and of very many some are told."""
    state = seeded(nn.GRU(2, 3)).state_dict() | {
        f"\x1b[31m\nx{n}.weight": torch.ones(2, 2, 2) for n in range(99)
    }
    torch.save(state, tmp_path / "m.pt")
    line = refusal(tmp_path / "m.pt", tmp_path / "models")
    assert line.isprintable()
    assert line.count("a convolution") == 12
    assert "and 87 more" in line
    assert "\x1b" not in convert(tmp_path / "m.pt", tmp_path / "models", "--as", "encoder")
