"""The cells that a model may name. A new cell is one file and one line here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gatehouse_server.network.cell import Cell
from gatehouse_server.network.gru import GRU
from gatehouse_server.network.lstm import LSTM
from gatehouse_server.network.rnn import ReluRNN, TanhRNN

CELLS: Final[Mapping[str, type[Cell]]] = MappingProxyType(
    {
        "lstm": LSTM,
        "gru": GRU,
        "rnn_tanh": TanhRNN,
        "rnn_relu": ReluRNN,
    }
)
