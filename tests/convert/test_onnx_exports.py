"""Modules that torch itself exports to ONNX: recognised, and the same numbers as the module's."""

import pytest
import torch
from gatehouse_server.convert.port import ConversionError
from torch import Tensor, nn

from tests.convert.converting import WORDS, converted
from tests.convert.onnx_agreement import assert_agrees, read
from tests.convert.onnx_graphs import exported
from tests.convert.torch_models import seeded

N, H, V = 3, 4, 7


class Body(nn.Module):
    """Recurrent layers and what a subclass makes of their output."""

    def __init__(
        self, kind: str = "LSTM", *, layers: int = 1, both: bool = False, batch_first: bool = True
    ) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(N, H, layers, bidirectional=both, batch_first=batch_first)
        self.head = nn.Linear(H * (2 if both else 1), 5)


class LastStep(Body):
    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class LastOfScores(Body):
    def forward(self, x):
        return self.head(self.rnn(x)[0])[:, -1, :].softmax(-1)


class LastState(Body):
    def forward(self, x):
        state = self.rnn(x)[1]
        return self.head(state[0][-1] if isinstance(state, tuple) else state[-1])


class BothStates(Body):
    def forward(self, x):
        state = self.rnn(x)[1]
        h = state[0] if isinstance(state, tuple) else state
        return self.head(torch.cat([h[-2], h[-1]], dim=1)).log_softmax(dim=1)


class Mean(Body):
    def forward(self, x):
        return torch.sigmoid(self.head(self.rnn(x)[0].mean(dim=1)))


class Maximum(Body):
    def forward(self, x):
        return self.head(self.rnn(x)[0].amax(dim=1))


class EveryStep(Body):
    def forward(self, x):
        outputs = self.rnn(x)[0]
        return self.head(outputs.reshape(-1, outputs.shape[-1])).view(x.shape[0], x.shape[1], -1)


class Words(nn.Module):
    """A language model with dropout, time first."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, N)
        self.rnn = nn.GRU(N, H, 2, dropout=0.3)
        self.head = nn.Linear(H, V)

    def forward(self, ids):
        return self.head(self.rnn(self.embedding(ids))[0])


class StateGiven(Body):
    def forward(self, x, h, c):
        outputs, (h, c) = self.rnn(x, (h, c))
        return outputs, h, c


class StateOfItsOwn(Body):
    """Sequences begin in a state that was learned."""

    def __init__(self) -> None:
        super().__init__("LSTM", layers=2)
        self.h, self.c = nn.Parameter(torch.randn(2, 1, H)), nn.Parameter(torch.randn(2, 1, H))

    def forward(self, x):
        B = x.shape[0]
        return self.head(self.rnn(x, (self.h.expand(2, B, H).contiguous(), self.c.repeat(1, B, 1)))[0])


def check(tmp_path, module: nn.Module, example: Tensor, **options):
    """The module's own answers are onnxruntime's, and so are the converted network's."""
    found = read(exported(tmp_path / "a.onnx", seeded(module), example, **options))
    with torch.no_grad():
        given = example if options.get("batch_first", True) else example.transpose(0, 1)
        expected = module(example)
    reference = found.reference
    assert reference is not None
    answered = reference.run(given)
    torch.testing.assert_close(answered, expected, rtol=0, atol=1e-5)
    assert_agrees(found)
    return found


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_bare_modules(tmp_path, kind, layers, both, batch_first):
    """nn.LSTM, nn.GRU and nn.RNN, as deep as they are, in one direction or both, batch first or not."""
    module = getattr(nn, kind)(N, H, layers, bidirectional=both, batch_first=batch_first)
    found = read(exported(tmp_path / "a.onnx", seeded(module), torch.randn(2, 5, N)))
    assert found.config["recurrent"]["layers"] == layers
    assert found.config["recurrent"].get("direction") == ("both" if both else None)
    assert found.config["task"] == "encoder"
    assert_agrees(found)


@pytest.mark.parametrize(
    ("module", "pooling", "kind"),
    [
        (LastStep("GRU"), ["last"], None),
        (LastOfScores("LSTM", layers=2), ["last"], "softmax"),
        (LastState("LSTM", layers=2), ["last"], None),
        (LastState("RNN"), ["last"], None),
        (BothStates("LSTM", layers=2, both=True), ["last"], "softmax"),
        (BothStates("GRU", both=True), ["last"], "softmax"),
        (Mean("GRU", both=True), ["mean"], "sigmoid"),
        (Maximum("LSTM"), ["max"], None),
        (EveryStep("LSTM", both=True), None, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_what_becomes_of_the_steps(tmp_path, module, pooling, kind):
    """Last step, last state, mean and maximum, before a dense layer, as one writes them in torch."""
    found = check(tmp_path, module, torch.randn(2, 5, N))
    assert found.config.get("pooling") == pooling
    assert found.config["head"] == ({} if kind is None else {"kind": kind}) | {"size": 5, "bias": True}


def test_a_language_model(tmp_path):
    """Embedding, stacked GRU and a dense layer as wide as the vocabulary, time first."""
    path = exported(tmp_path / "words.onnx", seeded(Words()), torch.randint(V, (5, 2)))
    found = read(path)
    assert found.config["input"] == {"kind": "tokens", "vocabulary_size": V, "embedding_size": N}
    assert_agrees(found)


def test_dimensions_that_are_fixed(tmp_path):
    """A graph that was exported for one length and one batch converts to a model for any, and says so."""
    found = check(tmp_path, EveryStep("LSTM"), torch.randn(2, 5, N), dynamic_axes={})
    assert any("made for 5 steps and 2 sequences at once" in note for note in found.notes)


def test_states_that_are_handed_in(tmp_path):
    """h and c as inputs and outputs of the graph are the session's."""
    example = (torch.randn(2, 5, N), torch.zeros(2, 2, H), torch.zeros(2, 2, H))
    found = read(exported(tmp_path / "a.onnx", seeded(StateGiven(layers=2)), example, dynamic_axes={}))
    assert sum("here the session keeps it" in note for note in found.notes) == 4
    assert_agrees(found)


def test_states_that_are_parameters(tmp_path):
    """A learned initial state is part of the model."""
    found = check(tmp_path, StateOfItsOwn(), torch.randn(2, 5, N))
    assert found.config["recurrent"]["initial_state"] is True
    assert found.parameters["rnn.initial_c_l1"].shape == (H,)


def test_older_operator_sets(tmp_path):
    """Axes were attributes once."""
    for opset in (9, 11, 12):
        check(tmp_path, BothStates("LSTM", both=True), torch.randn(2, 5, N), opset_version=opset)


def test_gate_orders_left_in_the_graph(tmp_path):
    """Without constant folding, the exporter leaves it to the graph to put torch's gates into ONNX's order."""
    check(tmp_path, EveryStep("LSTM", both=True), torch.randn(2, 5, N), do_constant_folding=False)


def test_the_last_step_of_both_directions_is_refused(tmp_path):
    """outputs[:, -1] takes the first output of the reverse direction, which is not what pooling "last" takes."""
    path = exported(tmp_path / "a.onnx", seeded(LastStep("LSTM", both=True)), torch.randn(2, 5, N))
    with pytest.raises(ConversionError, match=r"cannot serve node .*Gather"):
        read(path)


def test_a_last_step_may_become_every_step(tmp_path):
    """--pooling none: sessions run, and the answers at each step are compared with onnxruntime's of every beginning."""
    path = exported(tmp_path / "a.onnx", seeded(LastStep("LSTM")), torch.randn(2, 5, N))
    assert_agrees(read(path, pooling=()))
    assert converted(path, tmp_path / "models", "--pooling", "none", "--task", "regressor").online


def test_a_whole_conversion_of_tokens(tmp_path):
    """The command makes a folder of it."""
    path = exported(tmp_path / "words.onnx", seeded(Words()), torch.randint(V, (5, 2)))
    model = converted(path, tmp_path / "models", *WORDS)
    assert model.config.task == "language_model"
