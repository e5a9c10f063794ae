"""Recurrent stacks of every kind, drawn at random: small, so that many can be tried."""

from gatehouse_server.network.spec import RecurrentSpec
from hypothesis import strategies as st


@st.composite
def recurrents(draw: st.DrawFn) -> RecurrentSpec:
    """Any cell, with or without biases and projections, one to three layers, one direction or two, any merge."""
    cell = draw(st.sampled_from(["lstm", "gru", "rnn_tanh", "rnn_relu"]))
    hidden = draw(st.integers(1, 20))
    return RecurrentSpec(
        cell=cell,
        input_size=draw(st.integers(1, 9)),
        hidden_size=hidden,
        layers=draw(st.integers(1, 3)),
        projection_size=draw(st.integers(0, hidden - 1)) if cell == "lstm" else 0,
        bias=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
        merge=draw(st.sampled_from(["concat", "sum", "average", "multiply"])),
    )
