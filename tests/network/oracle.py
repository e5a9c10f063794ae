"""What a network should compute, each sequence by itself, and parameters to try it with."""

import numpy as np
import torch
from gatehouse_server.network.spec import NetworkSpec, RecurrentSpec, parameter_shapes
from torch import Tensor

from .equations import Equations, run


def random_parameters(spec: NetworkSpec, seed: int = 0) -> dict[str, Tensor]:
    """Parameters of the right shapes, as large as stable networks of rectifiers may have them."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) * min(0.5, (1.0 / shape[-1]) ** 0.5)
        for name, shape in parameter_shapes(spec).items()
    }


def ragged(lengths: list[int], width: int, seed: int = 0) -> list[Tensor]:
    """Random feature sequences (T_i, width)."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, width, generator=generator) for length in lengths]


def reference(
    spec: RecurrentSpec, parameters: dict[str, Tensor], sequences: list[Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Outputs (T_i, R) of each sequence, computed alone, and the merged ends (B, R)."""
    outputs, ends = [], []
    for sequence in sequences:
        values, end = sequence.double().numpy(), np.empty(0)
        for number, layer in enumerate(spec.layers):
            values, end, _ = run(layer, number, parameters, values)
        outputs.append(torch.from_numpy(values).float())
        ends.append(torch.from_numpy(end).float())
    return outputs, torch.stack(ends)


def reference_state(
    spec: RecurrentSpec, parameters: dict[str, Tensor], sequence: Tensor
) -> tuple[Tensor, ...]:
    """The state (width,) of each part after one sequence, one direction."""
    values = sequence.double().numpy()
    state: list[Tensor] = []
    for number, layer in enumerate(spec.layers):
        cell = Equations(layer, "forward", number, parameters)
        parts, rows = cell.initial(), []
        for x in values:
            parts, _ = cell.step(x, parts)
            rows.append(parts[0])
        state.extend(torch.from_numpy(part).float() for part in parts)
        values = np.stack(rows)
    return tuple(state)
