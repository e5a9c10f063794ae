"""Recordings of whole computations leave nothing behind."""

from __future__ import annotations

import torch
from gatehouse_server.network.recording import record
from torch import Tensor

from tests.allocated import allocated_bytes

OPERATORS = 40


def test_recordings_that_are_let_go_free_their_memory() -> None:
    """A server whose models are replaced again and again does not grow by what it recorded before."""

    def recorded() -> None:
        example, weight = torch.ones(2, 8), torch.eye(8)

        def computation(rows: Tensor) -> Tensor:
            for _ in range(OPERATORS):
                rows = torch.tanh(rows @ weight)
            return rows

        call = record(computation, [example])
        assert torch.equal(call(example), computation(example))

    for _ in range(3):
        recorded()
    before = allocated_bytes()
    for _ in range(10):
        recorded()
    # A recording of so many operators is about 300 KB.
    assert allocated_bytes() - before < 300_000
