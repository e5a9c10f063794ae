"""The page about a model, for models that are not the simplest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gatehouse.command.model_page import line, page
from gatehouse.models import FeatureInput, Model, ParameterMatrix, ParameterSum, RecurrentLayer


def a_layer(**changes: Any) -> RecurrentLayer:
    """An LSTM of 3 to 4."""
    own: dict[str, Any] = {
        "cell": "lstm",
        "input_size": 3,
        "hidden_size": 4,
        "projection_size": 0,
        "direction": "forward",
        "merge": "",
        "output_size": 4,
        "options": (),
        "part": "",
        "parameter_sums": (a_sum("forward", 10),),
    }
    return RecurrentLayer(**(own | changes))


def a_sum(direction: str, count: int) -> ParameterSum:
    """A sum without another way to count it."""
    return ParameterSum(
        direction=direction, count=count, formula=f"sum {direction}", one_bias_count=None, one_bias_formula=""
    )


def a_matrix(name: str) -> ParameterMatrix:
    """A matrix of 2."""
    return ParameterMatrix(name=name, shape=(1, 2), count=2, formula="")


MODEL = Model(
    name="motion",
    version="1",
    ready=True,
    failure="",
    task="encoder",
    description="",
    online=False,
    cell="lstm",
    layers=1,
    hidden_size=4,
    projection_size=0,
    bidirectional=False,
    merge="",
    recurrent_layers=(a_layer(),),
    pooling=(),
    tokens=None,
    features=FeatureInput(size=3, names=("x", "y", "z")),
    initial_size=0,
    labels=(),
    parameters=(a_matrix("rnn.weight_ih_l0"),),
    parameter_count=2,
    dimensions={},
    step_flops=10,
    step_bytes=100,
    fingerprint="ff",
    memory_bytes=100,
    state_bytes=0,
    session_bytes=0,
    load_seconds=0.5,
    card="",
    arithmetic="float32",
    reproducible=False,
)


def lines(model: Model) -> list[str]:
    """The page, a word's distance between columns."""
    return [" ".join(each.split()) for each in page(model)]


def test_directions_have_tables_and_sums_of_their_own() -> None:
    """Of a layer that runs in both, the forward one comes first, each with its sum behind its matrices."""
    both = a_layer(
        direction="both",
        merge="concat",
        output_size=8,
        parameter_sums=(a_sum("forward", 10), a_sum("reverse", 12)),
    )
    names = ("rnn.weight_ih_l0", "rnn.weight_ih_l0_reverse", "rnn.weight_ih_l1_reverse")
    model = replace(
        MODEL,
        recurrent_layers=(both, a_layer(cell="gru", direction="reverse", parameter_sums=())),
        parameters=tuple(map(a_matrix, names)),
    )
    told = lines(model)
    assert "layer 0 lstm, 3 to 4, both directions (concat: 8)" in told
    assert "layer 1 gru, 3 to 4, from the end to the beginning" in told
    begin = told.index("layer 0, forward")
    assert told[begin : begin + 7] == [
        "layer 0, forward",
        "weight_ih 1 x 2 2",
        "together 10 sum forward",
        "layer 0, reverse",
        "weight_ih 1 x 2 2",
        "together 12 sum reverse",
        "layer 1, reverse",
    ]


def test_encoder_and_decoder_are_told_apart() -> None:
    """Layers and matrices of a transducer have the part before their number."""
    model = replace(
        MODEL,
        recurrent_layers=(a_layer(part="encoder"), a_layer(part="decoder", cell="gru")),
        parameters=(a_matrix("encoder.rnn.weight_ih_l0"), a_matrix("decoder.rnn.weight_ih_l0")),
    )
    told = lines(model)
    assert {"encoder layer 0", "decoder layer 0", "decoder layer 0 gru, 3 to 4"} <= set(told)


def test_no_more_is_told_than_there_is() -> None:
    """No session of a model that runs none, no head of an encoder, no letters without formulas."""
    told = lines(MODEL)
    assert "input 3 features: x, y, z" in told
    assert not {"a session", "head", "where"} & {each.partition(" ")[0] for each in told}
    assert not any(each.startswith(("a session", "what it is")) for each in told)
    assert "arithmetic float32" in told


def test_long_facts_go_on_below_themselves() -> None:
    """Many labels take several lines, none of which is wider than a screen."""
    model = replace(MODEL, labels=tuple(f"computer-science-{number}" for number in range(20)))
    told = list(page(model))
    begin = next(index for index, each in enumerate(told) if each.startswith("labels"))
    assert told[begin + 1].startswith(" " * 13 + "computer-science-")
    assert max(map(len, told)) <= 110


def test_layers_that_differ_are_listed_each() -> None:
    """A line of the list does not claim that all layers are as the lowest."""
    layers = (a_layer(part="encoder"), a_layer(part="decoder", cell="gru", hidden_size=5))
    assert "encoder lstm 4, decoder gru 5" in line(replace(MODEL, layers=2, recurrent_layers=layers))
    assert "lstm 1 x 4 " in line(MODEL)
