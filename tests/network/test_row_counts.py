"""Products meet few numbers of rows, whatever number is asked for, with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from gatehouse_server.network.kernel import PackedKernel
from gatehouse_server.network.recording import record
from gatehouse_server.network.row_counts import computed_rows
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

MOST = 128
OUTPUTS, INPUTS = 520, 136
WAYS = ["as written", "recorded", "product", "recorded product"]


def test_no_more_is_computed_than_helps() -> None:
    """Each row, a quarter more at most, and of all sizes of a tile 36 numbers."""
    assert all(rows <= computed_rows(rows) <= 1.25 * rows for rows in range(1, 10_000))
    assert len({computed_rows(rows) for rows in range(1, MOST + 1)}) == 36
    assert computed_rows(MOST) == MOST


def _ways() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Ways to add the product with drawn weights to a base."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch has no oneDNN here")
    generator = torch.Generator().manual_seed(0)
    kernel = PackedKernel(torch.randn(OUTPUTS, INPUTS, generator=generator), None)
    example = [torch.zeros(3, INPUTS), torch.zeros(3, OUTPUTS)]
    recorded_product = record(kernel.product, example[:1])
    return {
        "as written": kernel.add_to,
        "recorded": record(kernel.add_to, example),
        "product": lambda x, base: base + kernel.product(x),
        "recorded product": lambda x, base: base + recorded_product(x),
    }


@pytest.mark.parametrize("way", WAYS)
def test_any_number_of_rows_has_the_bits_of_many(way: str) -> None:
    """Also those that are computed with others below them."""
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        x = torch.randn(MOST + 5, INPUTS, generator=generator)
        base = torch.randn(MOST + 5, OUTPUTS, generator=generator)
        add = _ways()[way]
        whole = add(x, base.clone())
        for rows in range(1, MOST + 1):
            assert torch.equal(add(x[:rows], base[:rows].clone()), whole[:rows])


@pytest.mark.parametrize("way", WAYS)
def test_the_library_meets_few_numbers_of_rows(way: str) -> None:
    """Of the 128 numbers that a tile may have 36, for each of which it compiles a program; in recordings, too."""
    with torch.inference_mode():
        add = _ways()[way]
        with _Watching() as watching:
            for rows in range(1, MOST + 1):
                add(torch.zeros(rows, INPUTS), torch.zeros(rows, OUTPUTS))
    assert watching.met == {computed_rows(rows) for rows in range(1, MOST + 1)}


class _Watching(TorchDispatchMode):
    """Notes how many rows oneDNN is given, by recordings, too."""

    def __init__(self) -> None:
        super().__init__()
        self.met: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket is torch.ops.mkldnn._linear_pointwise:
            self.met.add(len(args[0]))
        return func(*args, **(kwargs or {}))
