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
    outside = {entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)}
    return (*_CELLS, *sorted(outside - _CELLS.keys()))


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
    cell = _loaded(name)
    if cell is None:
        raise ValueError(
            f"cell: expected one of {', '.join(cell_names())}, got {name!r}, "
            "which no installed package brings"
        )
    own = options.changed().keys() - dict(options.extra).keys()
    if own:
        raise ValueError(f"{min(own)}: not an option of cell {name}; what it takes is in `options`")
    cell.check_options(options)
    return cell


@cache
def _loaded(name: str) -> type[Cell] | None:
    """The cell of an installed package, None if no package has one of that name."""
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=name):
        try:
            found = entry.load()
        except Exception as error:  # whatever the package does when it is imported
            problem = f"{entry.value} cannot be loaded ({type(error).__name__}: {error})"
            raise ValueError(f"cell {name}: {problem}") from error
        if not (isinstance(found, type) and issubclass(found, Cell)):
            raise ValueError(
                f"cell {name}: expected a subclass of gatehouse_server.cells.Cell, got {entry.value}"
            )
        return found
    return None


def _listed(options: frozenset[str]) -> str:
    return ", ".join(sorted(options)) or "none"
