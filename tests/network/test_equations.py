"""The oracle itself: where torch has a module, the equations give what it gives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gatehouse_server.network.spec import FeatureInputSpec, NetworkSpec, RecurrentSpec
from torch import nn

from .oracle import ragged, random_parameters, reference

# torch says so itself when it computes projections.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

_MODULES: dict[str, tuple[Callable[..., nn.RNNBase], dict[str, Any]]] = {
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "rnn_tanh": (nn.RNN, {"nonlinearity": "tanh"}),
    "rnn_relu": (nn.RNN, {"nonlinearity": "relu"}),
}


@pytest.mark.parametrize("cell", _MODULES)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("projection", [0, 3])
def test_the_equations_are_those_of_torch(
    cell: str, bidirectional: bool, bias: bool, projection: int
) -> None:
    """Two layers, any direction, with and without biases and projections: outputs and ends of torch's modules."""
    if projection and cell != "lstm":
        pytest.skip("only nn.LSTM projects")
    recurrent = RecurrentSpec.uniform(
        cell=cell,
        input_size=4,
        hidden_size=6,
        layers=2,
        bias=bias,
        bidirectional=bidirectional,
        projection_size=projection,
    )
    parameters = random_parameters(NetworkSpec(input=FeatureInputSpec(size=4), recurrent=recurrent))
    kind, options = _MODULES[cell]
    if cell == "lstm":
        options = {"proj_size": projection}
    module = kind(4, 6, 2, bias=bias, bidirectional=bidirectional, batch_first=True, **options)
    module.load_state_dict({name.removeprefix("rnn."): value for name, value in parameters.items()})
    sequences = ragged([5, 2, 1], 4)
    outputs, ends = reference(recurrent, parameters, sequences)
    with torch.no_grad():
        for sequence, output, end in zip(sequences, outputs, ends, strict=True):
            expected, last = module(sequence.unsqueeze(0))
            torch.testing.assert_close(output, expected[0], rtol=1e-5, atol=1e-5)
            top = (last[0] if cell == "lstm" else last)[-2 if bidirectional else -1 :, 0]
            torch.testing.assert_close(end, top.reshape(-1), rtol=1e-5, atol=1e-5)
