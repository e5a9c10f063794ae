"""Looking inside: every gate of every cell against the textbooks' equations, whichever way the sequence came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from gatehouse_server.network.cell_options import CellOptions
from gatehouse_server.network.layer_spec import LayerSpec
from gatehouse_server.network.looking import LayerLook
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import FeatureInputSpec, NetworkSpec, RecurrentSpec, TokenInputSpec
from torch import Tensor

from tests.network.equations import run
from tests.network.oracle import random_parameters

FEATURES, HIDDEN, STEPS = 5, 37, 21

LSTM_NAMES = ["input", "forget", "output", "candidate", "cell", "hidden"]
GRU_NAMES = ["reset", "update", "candidate", "hidden"]

CELLS: dict[str, tuple[str, CellOptions, dict[str, Any], list[str]]] = {
    "lstm": ("lstm", CellOptions(), {}, LSTM_NAMES),
    "hard lstm": (
        "lstm",
        CellOptions(gate_activation="hard_sigmoid", activation="softsign", cell_clip=0.4),
        {},
        LSTM_NAMES,
    ),
    "lstm without bias": ("lstm", CellOptions(), {"bias": False}, LSTM_NAMES),
    "projected lstm": ("lstm", CellOptions(), {"projection_size": 9}, LSTM_NAMES),
    "peepholes": ("lstm", CellOptions(peepholes=True), {}, LSTM_NAMES),
    "coupled": ("lstm", CellOptions(coupled=True), {}, LSTM_NAMES),
    "coupled with peepholes": ("lstm", CellOptions(coupled=True, peepholes=True), {}, LSTM_NAMES),
    "gru": ("gru", CellOptions(), {}, GRU_NAMES),
    "gru, reset before": ("gru", CellOptions(reset="before"), {}, GRU_NAMES),
    "tanh rnn": ("rnn_tanh", CellOptions(), {}, ["hidden"]),
    "relu rnn": ("rnn_relu", CellOptions(), {}, ["hidden"]),
}


def network_of(layers: Sequence[LayerSpec]) -> tuple[Network, dict[str, Tensor]]:
    """A network of features without a head, its parameters drawn."""
    spec = NetworkSpec(
        input=FeatureInputSpec(size=layers[0].input_size), recurrent=RecurrentSpec(layers=tuple(layers))
    )
    parameters = random_parameters(spec, seed=3)
    return Network.build(spec, parameters), parameters


def looked(
    network: Network, inputs: Tensor, state: tuple[Tensor, ...] | None = None
) -> tuple[LayerLook, ...]:
    """What a look finds, all pieces at once."""
    looking = network.look(inputs, state)
    while True:
        try:
            next(looking)
        except StopIteration as done:
            looks: tuple[LayerLook, ...] = done.value
            return looks


def features(steps: int = STEPS, width: int = FEATURES) -> Tensor:
    """A sequence, drawn."""
    return torch.randn(steps, width, generator=torch.Generator().manual_seed(8))


@pytest.mark.parametrize("kind", CELLS)
def test_every_gate_is_the_textbooks(kind: str) -> None:
    """Gates, candidate, cell and output of each cell at each step are those of its equations."""
    cell, options, more, names = CELLS[kind]
    layer = LayerSpec(cell=cell, input_size=FEATURES, hidden_size=HIDDEN, options=options, **more)
    network, parameters = network_of([layer])
    (look,) = looked(network, features())
    assert sorted(look.seen) == sorted(names)
    _, _, told = run(layer, 0, parameters, features().double().numpy())
    for name in names:
        expected = np.stack([step[name] for step in told["forward"]])
        np.testing.assert_allclose(look.seen[name].numpy(), expected, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("merge", ["concat", "sum", "average", "multiply"])
def test_layers_and_directions_are_told_apart(merge: str) -> None:
    """Of a stack with both directions, of different sizes and cells, each is told at the steps it belongs to, and each
    layer reads what the merge below it makes.
    """
    low = LayerSpec(cell="lstm", input_size=FEATURES, hidden_size=8, direction="both", merge=merge)  # type: ignore[arg-type]
    middle = LayerSpec(cell="gru", input_size=low.output_size, hidden_size=11, direction="reverse")
    top = LayerSpec(cell="rnn_tanh", input_size=11, hidden_size=6, initial_state=True)
    network, parameters = network_of([low, middle, top])
    looks = looked(network, features())
    assert [(look.layer, look.direction) for look in looks] == [
        (0, "forward"),
        (0, "reverse"),
        (1, "reverse"),
        (2, "forward"),
    ]
    inputs, told = features().double().numpy(), []
    for number, layer in enumerate([low, middle, top]):
        inputs, _, seen = run(layer, number, parameters, inputs)
        told.append(seen)
    for look in looks:
        for name, values in look.seen.items():
            expected = np.stack([step[name] for step in told[look.layer][look.direction]])
            np.testing.assert_allclose(values.numpy(), expected, atol=2e-6, err_msg=f"{look.layer} {name}")


def test_what_is_seen_is_what_the_network_computes() -> None:
    """The top layer's output in a look has the bits that reading the sequence gives."""
    layers = RecurrentSpec.uniform(cell="lstm", input_size=FEATURES, hidden_size=HIDDEN, layers=2).layers
    network, _ = network_of(layers)
    outputs = network.encode(features(), (1,) * STEPS).clone()
    assert torch.equal(looked(network, features())[-1].seen["hidden"], outputs)


def test_a_look_goes_on_from_a_state_and_leaves_it() -> None:
    """The second half of a sequence, looked at from the state between, is the second half of the whole, to the bit;
    the state itself stays.
    """
    layers = RecurrentSpec.uniform(cell="gru", input_size=FEATURES, hidden_size=HIDDEN, layers=2).layers
    network, _ = network_of(layers)
    whole = looked(network, features())
    state = network.initial_state(1)
    network.scan(features()[:9], (1,) * 9, state)
    before = [part.clone() for part in state]
    rest = looked(network, features()[9:], state)
    assert all(map(torch.equal, state, before))
    for one, other in zip(whole, rest, strict=True):
        for name, values in other.seen.items():
            assert torch.equal(one.seen[name][9:], values), name


@pytest.mark.parametrize("fold_limit_bytes", [0, 2**20], ids=["embedded", "folded"])
def test_the_network_may_be_used_between_two_pieces(fold_limit_bytes: int) -> None:
    """Whoever reads something else while a look is under way changes nothing of it, tokens or not, general cells or
    not.
    """
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=12, embedding_size=FEATURES),
        recurrent=RecurrentSpec.uniform(
            cell="lstm",
            input_size=FEATURES,
            hidden_size=HIDDEN,
            layers=2,
            options=CellOptions(peepholes=True),
        ),
    )
    network = Network.build(spec, random_parameters(spec), fold_limit_bytes=fold_limit_bytes)
    tokens = torch.arange(STEPS) % 12
    alone = looked(network, tokens)
    looking, disturbed = network.look(tokens), None
    while disturbed is None:
        try:
            next(looking)
        except StopIteration as done:
            disturbed = done.value
        network.encode(tokens.flip(0), (1,) * STEPS)
    for one, other in zip(alone, disturbed, strict=True):
        for name, values in one.seen.items():
            assert torch.equal(values, other.seen[name]), name


def test_a_look_at_nothing_or_at_the_wrong_thing_is_refused() -> None:
    """No steps, features of another width, and a state of a bidirectional network are errors that say so."""
    both = LayerSpec(cell="gru", input_size=FEATURES, hidden_size=4, direction="both")
    network, _ = network_of([both])
    with pytest.raises(ValueError, match="at least one step"):
        looked(network, features(0))
    with pytest.raises(ValueError, match="expected float32"):
        looked(network, features(3, FEATURES + 1))
    with pytest.raises(ValueError, match="bidirectional"):
        looked(network, features(), (torch.zeros(1, 4), torch.zeros(1, 4)))
