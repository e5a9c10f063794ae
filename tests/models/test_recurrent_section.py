"""The section `recurrent` of config.json: what does not fit together is told in one line."""

import json
from typing import Any

import pytest
from gatehouse_server.models.config import ConfigError, parse_config

ENCODER: dict[str, Any] = {
    "format": 1,
    "name": "encoder",
    "version": "1",
    "task": "encoder",
    "input": {"kind": "features", "size": 3},
}


def parsed(recurrent: dict[str, Any]) -> object:
    """An encoder of three features with these layers."""
    section = {"cell": "lstm", "input_size": 3, "hidden_size": 4} | recurrent
    return parse_config(json.dumps(ENCODER | {"recurrent": section}).encode())


@pytest.mark.parametrize(
    ("recurrent", "told"),
    [
        ({"cell": "gru", "peepholes": True}, "peepholes: not an option of cell gru, which has"),
        ({"cell": "gru", "coupled": True}, "coupled: not an option of cell gru, which has"),
        ({"cell": "gru", "cell_clip": 1.0}, "cell_clip: not an option of cell gru, which has"),
        ({"cell": "rnn_tanh", "activation": "relu"}, "not an option of cell rnn_tanh, which has none"),
        ({"reset": "before"}, "reset: not an option of cell lstm, which has"),
        ({"options": {"gain": 1}}, "gain: not an option of cell lstm, which has"),
        ({"activation": "elu"}, "recurrent.activation: input should be 'tanh', 'relu', 'sigmoid' or"),
        ({"gate_activation": "tanh"}, "recurrent.gate_activation: input should be 'sigmoid', 'hard_sigmoid'"),
        ({"peepholes": "yes"}, 'recurrent.peepholes: input should be a valid boolean, got "yes"'),
        ({"gate_clip": True}, "recurrent.gate_clip: input should be a valid number, got true"),
        ({"gate_clip": -1.0}, "recurrent.gate_clip: input should be greater than 0, got -1.0"),
        ({"bidirectional": True, "direction": "forward"}, "expected bidirectional or direction, not both"),
        ({"direction": "backwards"}, "recurrent.direction: input should be 'forward', 'reverse' or 'both'"),
        ({"direction": "reverse", "merge": "sum"}, "merge is for bidirectional layers only"),
        ({"reverse": {"peepholes": True}}, "reverse is for layers with a reverse direction only"),
        (
            {"bidirectional": True, "reverse": {"hidden_size": 3}},
            "recurrent.reverse.hidden_size: is not a known key",
        ),
        ({"bidirectional": True, "reverse": {"reset": "before"}}, "reset: not an option of cell lstm"),
        ({"layers": 65}, "recurrent.layers: input should be less than or equal to 64, got 65"),
        ({"layers": []}, "recurrent.layers: tuple should have at least 1 item"),
        ({"layers": "2"}, 'recurrent.layers: input should be a valid integer, got "2"'),
        ({"layers": [{"input_size": 3}]}, "recurrent.layers.0.input_size: is not a known key"),
        ({"layers": [{"layers": 2}]}, "recurrent.layers.0.layers: is not a known key"),
        ({"layers": [{}, {"projection_size": 9}]}, "layers[1]: projection_size: expected 0..3, less than"),
        ({"layers": [{"cell": "gru"}], "projection_size": 2}, "layers[0]: projection_size: expected 0 for"),
        ({"layers": [{"cell": "gru"}], "peepholes": True}, "layers[0]: peepholes: not an option of cell gru"),
        ({"layers": [{"merge": "sum"}]}, "layers[0]: merge is for bidirectional layers only"),
        ({"cell": ""}, "recurrent.cell: string should have at least 1 character"),
        ({"cell": "transformer"}, "cell: expected one of lstm, gru, rnn, rnn_tanh, rnn_relu"),
        ({"hidden_size": None}, "hidden_size: expected a number, here or for all layers, got none"),
        ({"initial_state": 1}, "recurrent.initial_state: input should be a valid boolean, got 1"),
        ({"gates": 3}, "recurrent.gates: is not a known key"),
    ],
)
def test_what_does_not_fit_is_one_line(recurrent: dict[str, Any], told: str) -> None:
    """It names the key, and the layer where there are several."""
    with pytest.raises(ConfigError) as caught:
        parsed(recurrent)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
