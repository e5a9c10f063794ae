"""What a step costs, by hand."""

import pytest
from gatehouse_server.models.step_cost import StepCost, step_cost
from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic
from gatehouse_server.network.cell_options import CellOptions
from gatehouse_server.network.layer_spec import LayerSpec
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
)

V, E, H, P = 11, 5, 8, 3


def words(**changes: object) -> NetworkSpec:
    """A language model with a projected LSTM."""
    own = LayerSpec(cell="lstm", input_size=E, hidden_size=H, projection_size=P)
    parts = {
        "input": TokenInputSpec(vocabulary_size=V, embedding_size=E),
        "recurrent": RecurrentSpec(layers=(own,)),
        "head": HeadSpec(kind="softmax", size=V),
    }
    return NetworkSpec(**(parts | changes))  # type: ignore[arg-type]


def test_a_step_multiplies_every_matrix_once() -> None:
    """Two operations for each weight of a product; biases are read, the two of a gate as one."""
    weights = 4 * H * E + 4 * H * P + P * H + V * P
    assert step_cost(words(), FLOAT32, folded=False) == StepCost(
        flops=2 * weights, weight_bytes=4 * (weights + 4 * H + E + V)
    )


def test_a_table_of_input_products_saves_the_lowest_input_matrix() -> None:
    """Its row is read instead, the biases in it."""
    weights = 4 * H * P + P * H + V * P
    assert step_cost(words(), FLOAT32, folded=True) == StepCost(
        flops=2 * weights, weight_bytes=4 * (weights + 4 * H + V)
    )


def test_only_the_lowest_layer_has_a_table() -> None:
    """Layers above it multiply what they read."""
    above = LayerSpec(cell="rnn", input_size=P, hidden_size=H, bias=False)
    both = RecurrentSpec(layers=(*words().recurrent.layers, above))
    cost = step_cost(words(recurrent=both, head=None), FLOAT32, folded=True)
    assert cost.flops == 2 * (4 * H * P + P * H + H * P + H * H)


@pytest.mark.parametrize(("precision", "size"), [("int8", 1), ("bfloat16", 2), ("float16", 2)])
def test_smaller_numbers_are_fewer_bytes(precision: str, size: int) -> None:
    """Weights shrink with the precision; biases and the table stay float32. Operations are as many."""
    weights = 4 * H * P + P * H + V * P
    cost = step_cost(words(), Arithmetic(precision=precision), folded=True)  # type: ignore[arg-type]
    assert cost == StepCost(flops=2 * weights, weight_bytes=size * weights + 4 * (4 * H + V))


def test_a_tied_head_is_multiplied_all_the_same() -> None:
    """It has no parameters of its own, but costs what it costs."""
    own = LayerSpec(cell="lstm", input_size=P, hidden_size=H, projection_size=P)
    source = TokenInputSpec(vocabulary_size=V, embedding_size=P)
    costs = {
        step_cost(
            words(
                input=source,
                recurrent=RecurrentSpec(layers=(own,)),
                head=HeadSpec(kind="softmax", size=V, tied=tied),
            ),
            FLOAT32,
            folded=True,
        )
        for tied in (True, False)
    }
    assert len(costs) == 1


def test_what_is_done_once_a_sequence_is_no_part_of_a_step() -> None:
    """The head of a model that pools, and the initial state."""
    kind = {"cell": "gru", "hidden_size": H, "direction": "both"}
    layers = (
        LayerSpec(**kind, input_size=E, initial_state=True),  # type: ignore[arg-type]
        LayerSpec(**kind, input_size=2 * H, options=CellOptions(reset="before")),  # type: ignore[arg-type]
    )
    spec = NetworkSpec(
        input=FeatureInputSpec(size=E),
        recurrent=RecurrentSpec(layers=layers),
        pooling=("mean",),
        head=HeadSpec(kind="softmax", size=V),
    )
    weights = 2 * 3 * H * (E + H) + 2 * 3 * H * (2 * H + H)
    biases = 2 * 2 * 3 * H + 2 * 3 * H  # with the reset after the product both biases are needed
    assert step_cost(spec, FLOAT32, folded=False) == StepCost(
        flops=2 * weights, weight_bytes=4 * (weights + biases)
    )
