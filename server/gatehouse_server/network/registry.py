"""The cells that a model may name.

Cells of the package are listed here. Others come from installed packages, through the entry-point group
`gatehouse.cells`: a name, and a subclass of `Cell`.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Final

from gatehouse_server.network.cell import Cell
from gatehouse_server.network.cell_options import DEFAULT_OPTIONS, CellOptions
from gatehouse_server.network.coupled_lstm import CoupledLSTM
from gatehouse_server.network.general_gru import GeneralGRU
from gatehouse_server.network.general_lstm import GeneralLSTM
from gatehouse_server.network.general_rnn import GeneralRNN
from gatehouse_server.network.gru import GRU
from gatehouse_server.network.lstm import LSTM
from gatehouse_server.network.rnn import ReluRNN, TanhRNN

ENTRY_POINT_GROUP: Final = "gatehouse.cells"

# By name: what options a cell knows, its implementations for some of them, the quickest, and the one for all others.
_CELLS: Final[Mapping[str, tuple[frozenset[str], Mapping[CellOptions, type[Cell]], type[Cell]]]] = (
    MappingProxyType(
        {
            "lstm": (
                frozenset(
                    {
                        "gate_activation",
                        "activation",
                        "output_activation",
                        "peepholes",
                        "coupled",
                        "gate_clip",
                        "cell_clip",
                    }
                ),
                {DEFAULT_OPTIONS: LSTM, CellOptions(coupled=True): CoupledLSTM},
                GeneralLSTM,
            ),
            "gru": (
                frozenset({"gate_activation", "activation", "reset", "gate_clip"}),
                {DEFAULT_OPTIONS: GRU},
                GeneralGRU,
            ),
            "rnn": (
                frozenset({"activation", "gate_clip"}),
                {DEFAULT_OPTIONS: TanhRNN, CellOptions(activation="relu"): ReluRNN},
                GeneralRNN,
            ),
            "rnn_tanh": (frozenset(), {DEFAULT_OPTIONS: TanhRNN}, TanhRNN),
            "rnn_relu": (frozenset(), {DEFAULT_OPTIONS: ReluRNN}, ReluRNN),
        }
    )
)


def cell_names() -> tuple[str, ...]:
    """Every name that `cell_class` knows, those from outside last."""
    return (*_CELLS, *_outside())


def cell_class(name: str, options: CellOptions = DEFAULT_OPTIONS) -> type[Cell]:
    """The implementation of a cell. Raises ValueError for an unknown name, or options that the cell does not have."""
    if name not in _CELLS:
        return _cell_from_outside(name, options)
    known, quick, general = _CELLS[name]
    for option in options.changed():
        if option not in known:
            raise ValueError(f"{option}: not an option of cell {name}, which has {_listed(known)}")
    return quick.get(options, general)


def _cell_from_outside(name: str, options: CellOptions) -> type[Cell]:
    found = _outside().get(name)
    if found is None:
        raise ValueError(f"cell: expected one of {', '.join(cell_names())}, got {name!r}")
    own = options.changed().keys() - dict(options.extra).keys()
    if own:
        raise ValueError(f"{min(own)}: not an option of cell {name}, which takes its own alone")
    found.check_options(options)
    return found


@cache
def _outside() -> Mapping[str, type[Cell]]:
    found: dict[str, type[Cell]] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name in _CELLS:
            raise ValueError(f"cell {entry.name} of {entry.value} has the name of one of the package's own")
        loaded = entry.load()
        if not (isinstance(loaded, type) and issubclass(loaded, Cell)):
            raise TypeError(f"cell {entry.name}: expected a subclass of Cell, got {entry.value}")
        found[entry.name] = loaded
    return MappingProxyType(found)


def _listed(options: frozenset[str]) -> str:
    return ", ".join(sorted(options)) or "none"
