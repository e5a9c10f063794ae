"""Dimensions are checked before anything is computed."""

import pytest
import torch
from gatehouse_server.network.cell_options import CellOptions
from gatehouse_server.network.layer_spec import LayerSpec
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    InitialSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
    parameter_shapes,
)
from torch import nn

from .oracle import random_parameters

_SIZES: dict[str, object] = {"cell": "lstm", "input_size": 6, "hidden_size": 8}
_RECURRENT = RecurrentSpec.uniform(cell="lstm", input_size=6, hidden_size=8)
_SPEC = NetworkSpec(input=FeatureInputSpec(size=6), recurrent=_RECURRENT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"cell": "transformer"},
            "cell: expected one of lstm, gru, rnn, rnn_tanh, rnn_relu, got 'transformer', "
            "which no installed package brings",
        ),
        ({"merge": "max"}, "merge: expected one of concat, sum, average, multiply, got 'max'"),
        ({"hidden_size": 0}, "hidden_size: expected 1 or more, got 0"),
        ({"layers": 0}, "layers: expected 1 or more, got 0"),
        ({"cell": "gru", "projection_size": 2}, "projection_size: expected 0 for cell gru, got 2"),
        ({"projection_size": 8}, "projection_size: expected 0..7, less than hidden_size, got 8"),
    ],
)
def test_impossible_recurrent_dimensions_are_refused(changes: dict[str, object], message: str) -> None:
    """A recurrent specification that cannot be computed is refused: what was expected, what given."""
    with pytest.raises(ValueError, match="expected") as raised:
        RecurrentSpec.uniform(**(_SIZES | changes))  # type: ignore[arg-type]  # wrong on purpose
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        (
            "lstm",
            {"gate_activation": "tanh"},
            "gate_activation: expected one of sigmoid, hard_sigmoid, hard_sig",
        ),
        (
            "lstm",
            {"activation": "gelu"},
            "activation: expected one of tanh, relu, sigmoid, softsign, got 'gelu'",
        ),
        ("lstm", {"cell_clip": 0.0}, "cell_clip: expected a positive number, got 0.0"),
        ("lstm", {"gate_clip": float("nan")}, "gate_clip: expected a positive number, got nan"),
        (
            "lstm",
            {"reset": "before"},
            "reset: not an option of cell lstm, which has activation, cell_clip, coup",
        ),
        (
            "gru",
            {"peepholes": True},
            "peepholes: not an option of cell gru, which has activation, gate_activat",
        ),
        ("rnn_tanh", {"activation": "relu"}, "activation: not an option of cell rnn_tanh, which has none"),
    ],
)
def test_impossible_cells_are_refused(cell: str, options: dict[str, object], message: str) -> None:
    """A cell is told to compute only what it can, with what it can named."""
    with pytest.raises(ValueError, match=r"expected|not an option") as raised:
        RecurrentSpec.uniform(
            cell=cell,
            input_size=6,
            hidden_size=8,
            options=CellOptions(**options),  # type: ignore[arg-type]  # wrong on purpose
        )
    assert str(raised.value).startswith(message)


def test_layers_that_do_not_fit_on_each_other_are_refused() -> None:
    """A layer reads what the one below it hands on; the state is set by a vector only where there is a state."""
    first = LayerSpec(cell="lstm", input_size=6, hidden_size=8, direction="both")
    second = LayerSpec(cell="gru", input_size=8, hidden_size=4)
    with pytest.raises(
        ValueError, match="layer 1 input_size: expected 16, as the layer below hands on, got 8"
    ):
        RecurrentSpec(layers=(first, second))
    with pytest.raises(ValueError, match="layers: expected at least one"):
        RecurrentSpec(layers=())
    with pytest.raises(ValueError, match="initial: expected layers of one direction"):
        NetworkSpec(
            input=FeatureInputSpec(size=6),
            recurrent=RecurrentSpec(layers=(first,)),
            initial=InitialSpec(size=3),
        )


def test_disagreeing_parts_are_refused() -> None:
    """Input width, poolings and a tied head are checked against the rest of the network."""
    with pytest.raises(ValueError, match="recurrent input_size: expected the input's 7, got 6"):
        NetworkSpec(input=FeatureInputSpec(size=7), recurrent=_RECURRENT)
    with pytest.raises(ValueError, match="pooling: expected one of last, mean, max, got 'first'"):
        NetworkSpec(input=FeatureInputSpec(size=6), recurrent=_RECURRENT, pooling=("first",))
    with pytest.raises(ValueError, match="pooling: expected each kind once"):
        NetworkSpec(input=FeatureInputSpec(size=6), recurrent=_RECURRENT, pooling=("max", "max"))
    tied = HeadSpec(kind="softmax", size=50, tied=True)
    with pytest.raises(ValueError, match="tied head: expected token input, got features"):
        NetworkSpec(input=FeatureInputSpec(size=6), recurrent=_RECURRENT, head=tied)
    tokens = TokenInputSpec(vocabulary_size=50, embedding_size=6)
    with pytest.raises(ValueError, match=r"tied head: expected the embedding's \(50, 6\), got \(50, 8\)"):
        NetworkSpec(input=tokens, recurrent=_RECURRENT, head=tied)


@pytest.mark.parametrize(
    ("layers", "bidirectional", "projection"), [(1, False, 0), (3, True, 3), (2, False, 5)]
)
def test_parameter_names_and_shapes_are_torchs(layers: int, bidirectional: bool, projection: int) -> None:
    """The expected parameters are exactly those of the modules embedding, rnn and head."""
    recurrent = RecurrentSpec.uniform(
        cell="lstm",
        input_size=6,
        hidden_size=8,
        layers=layers,
        bidirectional=bidirectional,
        projection_size=projection,
    )
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=50, embedding_size=6),
        recurrent=recurrent,
        head=HeadSpec(kind="softmax", size=4),
    )
    modules = nn.ModuleDict(
        {
            "embedding": nn.Embedding(50, 6),
            "rnn": nn.LSTM(6, 8, layers, bidirectional=bidirectional, proj_size=projection),
            "head": nn.Linear(spec.summary_size, 4),
        }
    )
    expected = {name: tuple(tensor.shape) for name, tensor in modules.state_dict().items()}
    assert parameter_shapes(spec) == expected


def test_wrong_parameters_are_refused() -> None:
    """Missing, surplus, misshapen, integer and non-finite parameters are refused by name."""
    good = random_parameters(_SPEC)
    name = "rnn.weight_hh_l0"
    missing = {key: tensor for key, tensor in good.items() if key != name}
    with pytest.raises(ValueError, match=f"expected {name}, got none of that name"):
        Network.build(_SPEC, missing)
    with pytest.raises(ValueError, match=r"got also rnn.weight_hr_l0"):
        Network.build(_SPEC, good | {"rnn.weight_hr_l0": torch.zeros(1, 1)})
    with pytest.raises(ValueError, match=rf"{name}: expected shape \(32, 8\), got \(32, 9\)"):
        Network.build(_SPEC, good | {name: torch.zeros(32, 9)})
    with pytest.raises(ValueError, match=f"{name}: expected floating-point numbers, got torch.int64"):
        Network.build(_SPEC, good | {name: torch.zeros(32, 8, dtype=torch.int64)})
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
        Network.build(_SPEC, good | {name: torch.full((32, 8), torch.nan)})
