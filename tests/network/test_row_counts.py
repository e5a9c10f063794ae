"""Products meet few numbers of rows, whatever number is asked for, with the same bits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from gatehouse_server.network.kernel import PackedKernel
from gatehouse_server.network.recording import record
from gatehouse_server.network.row_counts import computed_rows
from torch import Tensor

from tests.allocated import allocated_bytes

MOST = 128
OUTPUTS, INPUTS = 520, 136


def test_no_more_is_computed_than_helps() -> None:
    """Each row, a quarter more at most, and of all sizes of a tile 36 numbers."""
    assert all(rows <= computed_rows(rows) <= 1.25 * rows for rows in range(1, 10_000))
    assert len({computed_rows(rows) for rows in range(1, MOST + 1)}) == 36
    assert computed_rows(MOST) == MOST


def _ways(outputs: int) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Ways to add the product with drawn weights to a base."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch has no oneDNN here")
    generator = torch.Generator().manual_seed(0)
    kernel = PackedKernel(torch.randn(outputs, INPUTS, generator=generator), None)
    example = [torch.zeros(3, INPUTS), torch.zeros(3, outputs)]
    return {
        "as written": kernel.add_to,
        "recorded": record(kernel.add_to, example),
        "product": lambda x, base: base + kernel.product(x),
    }


@pytest.mark.parametrize("way", ["as written", "recorded", "product"])
def test_any_number_of_rows_has_the_bits_of_many(way: str) -> None:
    """Also those that are computed with others below them."""
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        x = torch.randn(MOST + 5, INPUTS, generator=generator)
        base = torch.randn(MOST + 5, OUTPUTS, generator=generator)
        add = _ways(OUTPUTS)[way]
        whole = add(x, base.clone())
        for rows in range(1, MOST + 1):
            assert torch.equal(add(x[:rows], base[:rows].clone()), whole[:rows])


def test_the_library_compiles_few_programs() -> None:
    """When it has met 36 numbers of rows, the other 92 take no memory any more: a third of a megabyte each."""
    with torch.inference_mode():
        outputs = OUTPUTS + 8  # of no other test: nothing was compiled for it before
        ways = _ways(outputs)

        def run(numbers: set[int]) -> int:
            for rows in sorted(numbers):
                for add in ways.values():
                    add(torch.zeros(rows, INPUTS), torch.zeros(rows, outputs))
            return allocated_bytes()

        every = set(range(1, MOST + 1))
        before = run({computed_rows(rows) for rows in every})
        assert run(every) - before < 3_000_000
