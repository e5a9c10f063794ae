"""What goes on inside of a stack while it reads one sequence: the gates and states of every layer at each step.

Step by step and layer by layer, in the arithmetic that the stack has anyway. For people who look, not for speed: it
takes several times as long as reading.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gatehouse_server.network.layer_spec import Direction
from gatehouse_server.network.merging import merge_into
from gatehouse_server.network.scan import Scan
from gatehouse_server.network.stack import Stack
from gatehouse_server.network.state import State

_PIECE_STEPS = 4
"""Of one layer and direction: a millisecond or so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLook:
    """One direction of one layer: what its cell tells (see `Cell.look`), by name (T, width) each, in the order of the
    steps, whichever way they were read.
    """

    layer: int
    direction: Direction
    seen: Mapping[str, Tensor]


def look(
    stack: Stack, inputs: Tensor, state: State | None = None
) -> Generator[None, None, tuple[LayerLook, ...]]:
    """One sequence, token ids (T,) or features (T, F), at least one step, from `state` (one row, in the order of the
    stack's layout, left as it is) or from the beginning. The lowest layer comes first, forward before reverse.

    To be driven in inference mode. Yields after every few steps; the network may then be used for something else.
    """
    looks: list[LayerLook] = []
    first = 0
    for number, scans in enumerate(stack.layers):
        outputs: list[Tensor] = []
        for direction, scan in scans.items():
            if state is None:
                parts = scan.initial(1)
            else:
                parts = tuple(part.clone() for part in state[first : first + len(scan.parts)])
                first += len(scan.parts)
            seen, output = yield from _look_at(scan, inputs, parts, direction)
            looks.append(LayerLook(layer=number, direction=direction, seen=seen))
            outputs.append(output)
        merge = stack.spec.layers[number].merge
        if len(outputs) == 1:
            (inputs,) = outputs
        else:
            inputs = torch.cat(outputs, dim=1) if merge == "concat" else merge_into(merge, *outputs)
    return tuple(looks)


def _look_at(
    scan: Scan, inputs: Tensor, parts: tuple[Tensor, ...], direction: Direction
) -> Generator[None, None, tuple[dict[str, Tensor], Tensor]]:
    """One direction of one layer; also its outputs (T, R). `parts` moves on."""
    steps = len(inputs)
    seen: dict[str, Tensor] = {}
    outputs = parts[0].new_empty(steps, parts[0].shape[1])
    pieces = [range(begin, min(begin + _PIECE_STEPS, steps)) for begin in range(0, steps, _PIECE_STEPS)]
    for piece in pieces if direction == "forward" else reversed(pieces):
        # Made piece by piece, since it may lie in memory that the network uses for others between two of them.
        product = scan.product(inputs[piece.start : piece.stop])
        for step in piece if direction == "forward" else reversed(piece):
            row = step - piece.start
            for name, values in scan.cell.look(product[row : row + 1], parts).items():
                if name not in seen:
                    seen[name] = values.new_empty(steps, values.shape[1])
                seen[name][step] = values[0]
            outputs[step] = parts[0][0]
        yield
    return seen, outputs
