"""Checks that a cell keeps what Gatehouse promises of every cell."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatehouse_server.network.cell import Cell, CellSize
from gatehouse_server.network.cell_options import CellOptions, Extra
from gatehouse_server.network.recording import NotRecordableError
from gatehouse_server.network.scan import Scan
from gatehouse_server.network.workspace import Workspace

Array = npt.NDArray[np.float64]
Arrays = Mapping[str, Any]
"""Parameters by their names, float64, shaped as `Cell.parameter_shapes` says."""
Options = Mapping[str, Extra]
Step = Callable[[Arrays, Options, Any, list[Any]], list[Any]]
"""The equations: parameters, options, x (F,) and the parts of the state (width,) -> the parts of the next state."""

_SIZES = (
    (5, 1),
    (7, 13),
    (16, 32),
    (24, 70),
)  # inputs and hidden units, also such as no vector register fits
_LENGTHS = (9, 6, 6, 2, 1)


def check_cell(
    cell: type[Cell],
    step: Step,
    *,
    options: Options | None = None,
    projection_size: int = 0,
    tolerance: float = 1e-5,
) -> None:
    """Raises AssertionError, which says what differs and where, unless the cell

    - computes what `step` does, within `tolerance` of the largest number, forward and in reverse;
    - gives the same bits alone and in a batch, in one scan and step by step;
    - never writes beyond the sequences that take a step;
    - can be recorded, with the same bits; a cell that cannot is slower, so that is worth knowing;
    - tells the state, at least, when it is looked at.

    ValueError for options that the cell refuses. Random parameters; sizes with and without biases.
    """
    extra = CellOptions(extra=tuple(sorted((options or {}).items())))
    cell.check_options(extra)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the promise about bits is for one thread
    try:
        for inputs, hidden in _SIZES:
            for bias in (True, False):
                size = CellSize(
                    input_size=inputs,
                    hidden_size=hidden,
                    projection_size=min(projection_size, hidden - 1),
                    bias=bias,
                    options=extra,
                )
                with torch.inference_mode():
                    _Check(cell, size, step, tolerance).run()
    finally:
        torch.set_num_threads(threads)


class _Check:
    """One size of the cell."""

    def __init__(self, cell: type[Cell], size: CellSize, step: Step, tolerance: float) -> None:
        generator = torch.Generator().manual_seed(size.hidden_size)
        self._what = f"{cell.__name__} with {size.input_size} inputs and {size.hidden_size} units"
        self._step, self._tolerance = step, tolerance
        self._options = dict(size.options.extra)
        parameters = {
            name: torch.randn(shape, generator=generator) * min(0.5, (1.0 / shape[-1]) ** 0.5)
            for name, shape in cell.parameter_shapes(size).items()
        }
        self._parameters = {name: tensor.double().numpy() for name, tensor in parameters.items()}
        made = cell(size, parameters, Workspace(torch.device("cpu")))
        self._scan = Scan(made, made.input_product)
        self._sequences = [torch.randn(n, size.input_size, generator=generator) for n in _LENGTHS]
        self._sizes = tuple(sum(n > t for n in _LENGTHS) for t in range(_LENGTHS[0]))

    def run(self) -> None:
        """All of it."""
        for direction in ("forward", "reverse"):
            self._equals_the_equations(direction)
        together = self._outputs("forward")
        self._is_the_same_alone(together)
        self._leaves_others_alone()
        self._tells_its_state()
        try:
            self._scan.record()
        except NotRecordableError as failure:
            raise AssertionError(f"{self._what} cannot be recorded: {failure}") from failure
        assert all(map(torch.equal, self._outputs("forward"), together)), (
            f"{self._what} differs when recorded"
        )

    def _outputs(self, direction: str) -> list[Tensor]:
        """Outputs (T, width) of each sequence, computed together."""
        packed = torch.cat(
            [torch.stack([s[t] for s in self._sequences[:n]]) for t, n in enumerate(self._sizes)]
        )
        outputs = torch.empty(len(packed), self._scan.parts[0].width)
        parts = self._scan.initial(len(_LENGTHS))
        (self._scan.forward if direction == "forward" else self._scan.reverse)(
            packed, self._sizes, parts, outputs
        )
        steps = torch.split(outputs, list(self._sizes))
        return [torch.stack([steps[t][row] for t in range(n)]) for row, n in enumerate(_LENGTHS)]

    def _equals_the_equations(self, direction: str) -> None:
        for sequence, actual in zip(self._sequences, self._outputs(direction), strict=True):
            state: list[Any] = [np.zeros(part.width) for part in self._scan.parts]
            rows = []
            inputs = sequence.double().numpy()
            for x in inputs if direction == "forward" else inputs[::-1]:
                state = self._step(self._parameters, self._options, x, state)
                rows.append(state[0])
            expected = np.stack(rows if direction == "forward" else rows[::-1])
            difference = float(np.abs(actual.double().numpy() - expected).max())
            limit = self._tolerance * max(1.0, float(np.abs(expected).max()))
            assert difference <= limit, (
                f"{self._what}, {direction}: differs from the equations by {difference:.2e}"
            )

    def _is_the_same_alone(self, together: list[Tensor]) -> None:
        for row, sequence in enumerate(self._sequences):
            parts = self._scan.initial(1)
            outputs = torch.empty_like(together[row])
            self._scan.forward(sequence, (1,) * len(sequence), parts, outputs)
            assert torch.equal(outputs, together[row]), (
                f"{self._what}: other bits alone than in a batch; does a row look at others, or is an activation "
                "applied to rows that are no multiple of 32 wide (see `spread`)?"
            )
            parts = self._scan.initial(1)
            for t, x in enumerate(sequence):
                self._scan.single(x.unsqueeze(0), parts)
                assert torch.equal(parts[0][0], together[row][t]), (
                    f"{self._what}: other bits step by step than in one scan"
                )

    def _leaves_others_alone(self) -> None:
        parts = tuple(torch.full((3, part.width), 0.25) for part in self._scan.parts)
        self._scan.single(self._sequences[0][:2], tuple(part[:2] for part in parts))
        assert all(bool((part[2] == 0.25).all()) for part in parts), f"{self._what} writes beyond its rows"

    def _tells_its_state(self) -> None:
        cell = self._scan.cell
        parts = self._scan.initial(2)
        seen = cell.look(self._scan.product(self._sequences[0][:2]), parts)
        assert "hidden" in seen, f"{self._what}: look tells no hidden"
        assert torch.equal(seen["hidden"], parts[0]), (
            f"{self._what}: look tells another hidden than it leaves"
        )
        for name, values in seen.items():
            assert values.dim() == 2, f"{self._what}: look tells {name} of shape {tuple(values.shape)}"
            assert len(values) == 2, f"{self._what}: look tells {name} of shape {tuple(values.shape)}"
