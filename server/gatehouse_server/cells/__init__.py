"""For cells from outside: what one is made of, and how to check it. docs/custom-cells.md says how to write one."""

from gatehouse_server.cells.parity import Arrays, Options, Step, check_cell
from gatehouse_server.network.cell import Cell, CellSize
from gatehouse_server.network.cell_options import CellOptions
from gatehouse_server.network.dense import Dense
from gatehouse_server.network.state import StatePart

__all__ = [
    "Arrays",
    "Cell",
    "CellOptions",
    "CellSize",
    "Dense",
    "Options",
    "StatePart",
    "Step",
    "check_cell",
]
