"""What a machine needs at least for an online step of a model: its weights read once, its matrix products alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from gatehouse_server.engine.graphs import CudaGraphs
from gatehouse_server.network.arithmetic import Arithmetic
from gatehouse_server.network.spec import NetworkSpec
from torch import Tensor

TILE_ROWS = 128
REPEATS_ON_GPU = 20
"""A GPU's ways are launched so often before it is waited for, so that the launch is not what is measured."""

_HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """`call` does what is needed so many times; it belongs to `kind`, `bytes` or `products`."""

    kind: str
    call: Callable[[], object]
    times: int = 1


def products_of(spec: NetworkSpec) -> list[tuple[int, int]]:
    """(inputs, outputs) of each matrix product of a step, in order; the first layer's input is looked up, not computed.

    A layer above the first multiplies its input and its own output in one product.
    """
    recurrent = spec.recurrent
    shapes: list[tuple[int, int]] = []
    for number, layer in enumerate(recurrent.layers):
        inputs = layer.output_size * (2 if number else 1)
        shapes.append((inputs, 4 * layer.hidden_size))
        if layer.projection_size:
            shapes.append((layer.hidden_size, layer.projection_size))
    assert spec.head is not None, "the shapes have heads"
    return [*shapes, (recurrent.output_size, spec.head.size)]


def weight_bytes(spec: NetworkSpec, arithmetic: Arithmetic) -> int:
    """Bytes of weights that a step reads whatever the batch."""
    each = {"int8": 1, "bfloat16": 2, "float16": 2}.get(arithmetic.precision, 4)
    return sum(each * inputs * outputs for inputs, outputs in products_of(spec))


def floors(spec: NetworkSpec, batch: int, device: str, arithmetic: Arithmetic) -> dict[str, Floor]:
    """Ways to do no more than what is needed; the fastest of each kind is the floor.

    The products of a step are run in order, so that they find in the caches what a step finds there. On a CPU they
    are float32's, whatever the weights.
    """
    memory = torch.ones(weight_bytes(spec, arithmetic) // 4, device=device)
    elsewhere = torch.empty_like(memory)
    copy: Callable[[], object] = partial(elsewhere.copy_, memory)
    if device == "cuda":
        dtype = _HALVES.get(arithmetic.precision, torch.float32)
        calls: dict[str, Callable[[], object]] = {
            "bytes": copy,
            "products": _addmm(spec, batch, batch, device, dtype),
        }
        return {
            kind: Floor(kind=kind, call=_on_gpu(call), times=REPEATS_ON_GPU) for kind, call in calls.items()
        }
    ways = {
        "bytes read": Floor(kind="bytes", call=memory.sum),
        "bytes copied": Floor(kind="bytes", call=copy),
    }
    for name, tile in (("whole", batch), ("tiles", min(batch, TILE_ROWS))):
        if name == "whole" or tile != batch:
            plain = _addmm(spec, batch, tile, device, torch.float32)
            ways[f"products addmm {name}"] = Floor(kind="products", call=plain)
            ways[f"products packed {name}"] = Floor(kind="products", call=_packed(spec, batch, tile))
    return ways


def _on_gpu(call: Callable[[], object]) -> Callable[[], None]:
    """As a graph, so that what the host does between two operators is left out."""
    graphs = CudaGraphs(torch.device("cuda"))

    def once() -> None:
        call()

    replay = graphs.capture(once)

    def many() -> None:
        for _ in range(REPEATS_ON_GPU):
            replay()
        graphs.wait()

    return many


def _rows(shape: tuple[int, int], batch: int, tile: int) -> list[Tensor]:
    x = torch.randn(batch, shape[0])
    return [x[start : start + tile] for start in range(0, batch, tile)]


def _addmm(spec: NetworkSpec, batch: int, tile: int, device: str, dtype: torch.dtype) -> Callable[[], None]:
    """torch's product, weights stored (K, N), into memory that is there."""
    calls = []
    for shape in products_of(spec):
        weight = torch.randn(*shape).to(device, dtype)
        out = torch.empty(tile, shape[1], device=device, dtype=dtype)
        rows = (x.to(device, dtype) for x in _rows(shape, batch, tile))
        calls += [partial(torch.mm, x, weight, out=out[: len(x)]) for x in rows]
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
