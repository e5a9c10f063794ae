"""Whole sequences in one vector each: the last step, the mean or the maximum over all steps.

Steps are added in their order, so the result does not depend on the other sequences.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gatehouse_server.network.packing import lengths_of, steps_of


def mean_of(outputs: Tensor, batch_sizes: Sequence[int]) -> Tensor:
    """Packed outputs (N, R) -> mean over each sequence's steps (B, R)."""
    total = outputs.new_zeros(batch_sizes[0], outputs.shape[1])
    for start, rows in steps_of(batch_sizes):
        total[:rows].add_(outputs[start : start + rows])
    lengths = torch.tensor(lengths_of(batch_sizes), dtype=outputs.dtype, device=outputs.device)
    return total.div_(lengths.unsqueeze(1))


def maximum_of(outputs: Tensor, batch_sizes: Sequence[int]) -> Tensor:
    """Packed outputs (N, R) -> element-wise maximum over each sequence's steps (B, R)."""
    most = outputs[: batch_sizes[0]].clone()
    for start, rows in list(steps_of(batch_sizes))[1:]:
        torch.maximum(most[:rows], outputs[start : start + rows], out=most[:rows])
    return most


def last_of(outputs: Tensor, batch_sizes: Sequence[int]) -> Tensor:
    """Packed outputs (N, R) -> each sequence's last step (B, R)."""
    starts = [start for start, _ in steps_of(batch_sizes)]
    rows = [starts[length - 1] + row for row, length in enumerate(lengths_of(batch_sizes))]
    return outputs[torch.tensor(rows, device=outputs.device)]
