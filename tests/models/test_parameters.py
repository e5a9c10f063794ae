"""The parameter table: every count has a formula that gives it."""

from math import prod

import pytest
import torch
from gatehouse_server.models.dimensions import Letters
from gatehouse_server.models.parameters import parameter_sums, parameter_table
from gatehouse_server.network import registry
from gatehouse_server.network.cell import CellSize
from gatehouse_server.network.cell_options import CellOptions
from gatehouse_server.network.layer_spec import LayerSpec
from gatehouse_server.network.lstm import LSTM
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    InitialSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
    parameter_shapes,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.network.recurrents import mixed_stacks, recurrents

_ASCII = str.maketrans("₀₁₂₃₄₅₆₇₈₉·", "0123456789*")


def evaluated(formula: str, spec: NetworkSpec) -> int:
    """What a formula gives with the sizes that its letters stand for."""
    sizes = {each.symbol.translate(_ASCII): each.size for each in Letters(spec).dimensions()}
    return int(eval(formula.translate(_ASCII), {"__builtins__": {}}, sizes))


def network_of(*layers: LayerSpec) -> NetworkSpec:
    """A network of features without a head."""
    return NetworkSpec(
        input=FeatureInputSpec(size=layers[0].input_size), recurrent=RecurrentSpec(layers=layers)
    )


@st.composite
def networks(draw: st.DrawFn) -> NetworkSpec:
    """Any stack between any input and any head."""
    recurrent = draw(recurrents() | mixed_stacks())
    pooling = draw(st.sampled_from([(), ("last",), ("mean", "max")]))
    tokens = draw(st.booleans())
    initial = InitialSpec(size=draw(st.integers(1, 5))) if recurrent.causal and draw(st.booleans()) else None
    head = HeadSpec(kind="softmax", size=draw(st.integers(1, 9)), bias=draw(st.booleans()))
    if tokens and not pooling and recurrent.input_size == recurrent.output_size and draw(st.booleans()):
        head = HeadSpec(kind="softmax", size=7, tied=True)
    return NetworkSpec(
        input=TokenInputSpec(vocabulary_size=7, embedding_size=recurrent.input_size)
        if tokens
        else FeatureInputSpec(size=recurrent.input_size),
        recurrent=recurrent,
        pooling=pooling,
        head=draw(st.sampled_from([head, None])),
        initial=initial,
    )


@given(networks())
def test_every_formula_gives_the_count(spec: NetworkSpec) -> None:
    """Of matrices, of sums, and of what one bias would make, whatever the network."""
    table = parameter_table(spec)
    assert {each.name: each.shape for each in table} == parameter_shapes(spec)
    for matrix in table:
        assert matrix.count == prod(matrix.shape) == evaluated(matrix.formula, spec), matrix
    in_layers = 0
    for number, layer in enumerate(spec.recurrent.layers):
        sums = parameter_sums(spec, number)
        assert tuple(each.direction for each in sums) == layer.directions
        for each in sums:
            in_layers += each.count
            assert each.count == evaluated(each.formula, spec), each
            if each.one_bias_formula:
                assert each.one_bias_count == evaluated(each.one_bias_formula, spec) < each.count, each
    assert in_layers == sum(matrix.count for matrix in table if matrix.name.startswith("rnn."))


def layer(**changes: object) -> LayerSpec:
    """An LSTM of 5 to 4, but for the changes."""
    return LayerSpec(**({"cell": "lstm", "input_size": 5, "hidden_size": 4} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("own", "formula", "one_bias"),
    [
        (layer(), "4·(N + H + 2)·H", "4·(N + H + 1)·H"),
        (layer(bias=False), "4·(N + H)·H", ""),
        (layer(projection_size=2), "4·(N + P + 2)·H + P·H", "4·(N + P + 1)·H + P·H"),
        (layer(options=CellOptions(coupled=True)), "3·(N + H + 2)·H", "3·(N + H + 1)·H"),
        (layer(options=CellOptions(peepholes=True)), "4·(N + H + 2)·H + 3·H", "4·(N + H + 1)·H + 3·H"),
        (
            layer(options=CellOptions(peepholes=True, coupled=True)),
            "3·(N + H + 2)·H + 2·H",
            "3·(N + H + 1)·H + 2·H",
        ),
        (layer(initial_state=True, bias=False), "4·(N + H)·H + H + H", ""),
        (layer(cell="gru"), "3·(N + H + 2)·H", ""),
        (layer(cell="gru", options=CellOptions(reset="before")), "3·(N + H + 2)·H", "3·(N + H + 1)·H"),
        (layer(cell="rnn"), "(N + H + 2)·H", "(N + H + 1)·H"),
        (layer(cell="rnn_relu", initial_state=True), "(N + H + 2)·H + H", "(N + H + 1)·H + H"),
    ],
)
def test_sums_are_told_as_books_have_them(own: LayerSpec, formula: str, one_bias: str) -> None:
    """torch's two biases and Keras's one are told apart; a GRU with the reset after the product has two in both."""
    (told,) = parameter_sums(network_of(own), 0)
    assert (told.formula, told.one_bias_formula) == (formula, one_bias)
    assert bool(told.one_bias_count) is bool(one_bias)


@pytest.mark.parametrize(("kind", "cell"), [("LSTM", "lstm"), ("GRU", "gru"), ("RNN", "rnn")])
def test_a_sum_is_what_torch_counts(kind: str, cell: str) -> None:
    """The modules of torch have as many parameters as the sums of both directions say."""
    module = getattr(torch.nn, kind)(5, 4, bidirectional=True)
    sums = parameter_sums(network_of(layer(cell=cell, direction="both")), 0)
    assert sum(each.count for each in sums) == sum(each.numel() for each in module.parameters())


def test_layers_of_different_sizes_have_letters_of_their_own() -> None:
    """H and P have the number of the layer below them where layers differ, and only there."""
    spec = network_of(
        layer(hidden_size=4, direction="both"),
        LayerSpec(cell="gru", input_size=8, hidden_size=6),
        LayerSpec(cell="lstm", input_size=6, hidden_size=7, projection_size=3),
    )
    formulas = {each.name: each.formula for each in parameter_table(spec)}
    assert formulas["rnn.weight_ih_l0_reverse"] == "4·H₀·N"
    assert formulas["rnn.weight_ih_l1"] == "3·H₁·(2·H₀)"
    assert formulas["rnn.weight_hh_l2"] == "4·H₂·P"
    assert parameter_sums(spec, 1)[0].formula == "3·(2·H₀ + H₁ + 2)·H₁"
    assert {each.symbol: each.size for each in Letters(spec).dimensions()} == {
        "N": 5,
        "H₀": 4,
        "H₁": 6,
        "H₂": 7,
        "P": 3,
    }


class _Foreign(LSTM):
    """A cell that has one matrix more than it could be known for."""

    @classmethod
    def parameter_shapes(cls, size: CellSize) -> dict[str, tuple[int, ...]]:
        return super().parameter_shapes(size) | {"gain": (size.hidden_size,)}


def test_of_a_cell_from_outside_only_counts_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """No formula is made up for it."""
    monkeypatch.setattr(registry, "_cell_from_outside", lambda name, options: _Foreign)
    spec = network_of(layer(cell="foreign"))
    table = parameter_table(spec)
    assert {each.formula for each in table} == {""}
    (told,) = parameter_sums(spec, 0)
    assert (told.formula, told.one_bias_count) == ("", 0)
    assert told.count == sum(each.count for each in table) == 4 * (5 + 4 + 2) * 4 + 4
