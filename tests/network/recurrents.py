"""Recurrent stacks of every kind, drawn at random: small, so that many can be tried."""

from gatehouse_server.network.cell_options import Activation, CellOptions, GateActivation
from gatehouse_server.network.layer_spec import LayerDirection, LayerSpec, Merge
from gatehouse_server.network.spec import RecurrentSpec
from hypothesis import strategies as st

_MERGES: st.SearchStrategy[Merge] = st.sampled_from(["concat", "sum", "average", "multiply"])
_GATES: st.SearchStrategy[GateActivation] = st.sampled_from(["sigmoid", "hard_sigmoid", "hard_sigmoid_fifth"])
_ACTIVATIONS: st.SearchStrategy[Activation] = st.sampled_from(["tanh", "relu", "sigmoid", "softsign"])
_CLIPS = st.none() | st.sampled_from([0.3, 1.0])


@st.composite
def recurrents(draw: st.DrawFn, *, both: bool | None = None) -> RecurrentSpec:
    """What torch's modules compute: with or without biases and projections, one to three layers, any merge.

    `both`: in two directions or in one; None: either.
    """
    cell = draw(st.sampled_from(["lstm", "gru", "rnn_tanh", "rnn_relu"]))
    hidden = draw(st.integers(1, 40))
    return RecurrentSpec.uniform(
        cell=cell,
        input_size=draw(st.integers(1, 20)),
        hidden_size=hidden,
        layers=draw(st.integers(1, 3)),
        projection_size=draw(st.integers(0, hidden - 1)) if cell == "lstm" else 0,
        bias=draw(st.booleans()),
        bidirectional=draw(st.booleans()) if both is None else both,
        merge=draw(_MERGES),
    )


@st.composite
def options_of(draw: st.DrawFn, cell: str) -> CellOptions:
    """Whatever a cell can be told to compute."""
    if cell == "lstm":
        return CellOptions(
            gate_activation=draw(_GATES),
            activation=draw(_ACTIVATIONS),
            output_activation=draw(st.none() | _ACTIVATIONS),
            peepholes=draw(st.booleans()),
            coupled=draw(st.booleans()),
            gate_clip=draw(_CLIPS),
            cell_clip=draw(_CLIPS),
        )
    if cell == "gru":
        return CellOptions(
            gate_activation=draw(_GATES),
            activation=draw(_ACTIVATIONS),
            reset=draw(st.sampled_from(["after", "before"])),
            gate_clip=draw(_CLIPS),
        )
    return CellOptions(activation=draw(_ACTIVATIONS), gate_clip=draw(_CLIPS))


@st.composite
def mixed_stacks(draw: st.DrawFn, *, causal: bool = False) -> RecurrentSpec:
    """Layers of different cells, sizes, directions and options, on top of each other."""
    layers: list[LayerSpec] = []
    for _ in range(draw(st.integers(1, 3))):
        cell = draw(st.sampled_from(["lstm", "gru", "rnn"]))
        hidden = draw(st.integers(1, 40))
        direction: LayerDirection = (
            "forward" if causal else draw(st.sampled_from(["forward", "reverse", "both"]))
        )
        options = draw(
            options_of(cell) | st.just(CellOptions()) | st.just(CellOptions(coupled=cell == "lstm"))
        )
        layers.append(
            LayerSpec(
                cell=cell,
                input_size=layers[-1].output_size if layers else draw(st.integers(1, 20)),
                hidden_size=hidden,
                projection_size=draw(st.integers(0, hidden - 1)) if cell == "lstm" else 0,
                bias=draw(st.booleans()),
                direction=direction,
                merge=draw(_MERGES),
                options=options,
                reverse_options=draw(st.none() | options_of(cell)) if direction != "forward" else None,
                initial_state=draw(st.booleans()),
            )
        )
    return RecurrentSpec(layers=tuple(layers))
