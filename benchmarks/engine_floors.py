"""What a machine needs at least for an online step of a model: its weights read once, its matrix products alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from gatehouse_server.network.spec import NetworkSpec
from torch import Tensor

TILE_ROWS = 128


def products_of(spec: NetworkSpec) -> list[tuple[int, int]]:
    """(inputs, outputs) of each matrix product of a step, in order; the first layer's input is looked up, not computed.

    A layer above the first multiplies its input and its own output in one product.
    """
    recurrent = spec.recurrent
    shapes: list[tuple[int, int]] = []
    for layer in range(recurrent.layers):
        inputs = recurrent.output_size * (2 if layer else 1)
        shapes.append((inputs, 4 * recurrent.hidden_size))
        if recurrent.projection_size:
            shapes.append((recurrent.hidden_size, recurrent.projection_size))
    assert spec.head is not None, "the shapes have heads"
    return [*shapes, (recurrent.output_size, spec.head.size)]


def weight_bytes(spec: NetworkSpec) -> int:
    """Bytes of float32 weights that a step reads whatever the batch."""
    return sum(4 * inputs * outputs for inputs, outputs in products_of(spec))


def floors(spec: NetworkSpec, batch: int) -> dict[str, Callable[[], object]]:
    """Ways to do no more than what is needed; the fastest of each kind, `bytes` or `products`, is the floor.

    The products of a step are run in order, so that they find in the caches what a step finds there.
    """
    memory = torch.ones(weight_bytes(spec) // 4)
    elsewhere = torch.empty_like(memory)
    ways: dict[str, Callable[[], object]] = {
        "bytes read": memory.sum,
        "bytes copied": partial(elsewhere.copy_, memory),
    }
    for name, tile in (("whole", batch), ("tiles", min(batch, TILE_ROWS))):
        if name == "whole" or tile != batch:
            ways[f"products addmm {name}"] = _addmm(spec, batch, tile)
            ways[f"products packed {name}"] = _packed(spec, batch, tile)
    return ways


def _rows(shape: tuple[int, int], batch: int, tile: int) -> list[Tensor]:
    x = torch.randn(batch, shape[0])
    return [x[start : start + tile] for start in range(0, batch, tile)]


def _addmm(spec: NetworkSpec, batch: int, tile: int) -> Callable[[], None]:
    """torch's product, weights stored (K, N), into memory that is there."""
    calls = []
    for shape in products_of(spec):
        weight, out = torch.randn(*shape), torch.empty(tile, shape[1])
        calls += [partial(torch.mm, x, weight, out=out[: len(x)]) for x in _rows(shape, batch, tile)]
    return partial(_all, calls)


def _packed(spec: NetworkSpec, batch: int, tile: int) -> Callable[[], None]:
    """oneDNN's product, weights reordered beforehand."""
    calls = []
    for shape in products_of(spec):
        weight = torch.ops.mkldnn._reorder_linear_weight(torch.randn(shape[1], shape[0]))
        linear = torch.ops.mkldnn._linear_pointwise.default
        calls += [partial(linear, x, weight, None, "none", [], "") for x in _rows(shape, batch, tile)]
    return partial(_all, calls)


def _all(calls: Sequence[Callable[[], Tensor]]) -> None:
    for call in calls:
        call()
