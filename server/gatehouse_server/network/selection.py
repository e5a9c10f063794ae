"""The exact k largest entries of every row, equal ones in the order of their index.

`torch.topk` leaves open which of several equal entries it takes, and costs as much over a vocabulary as the
product that made it. Rows are cut into blocks instead: the k blocks that are best by (largest entry, lower
index) hold the k entries that are best by (value, lower index). For an entry outside them is beaten by one
entry in each of k blocks.

Values and indices are compared as one integer: the float's bits, made monotone, above the reversed index.
"""

import torch
from torch import Tensor

_FEW_ROWS = 16  # up to here topk over whole rows costs less than the calls of the other way (CPU)


class Selection:
    """Finds the largest entries of rows that are `width` wide, in blocks of `block` entries each."""

    def __init__(self, width: int, block: int, device: torch.device) -> None:
        if width % block:
            raise ValueError(f"width: expected a multiple of the block {block}, got {width}")
        self._width = width
        self._block = block
        self._indices = torch.arange(width, device=device)

    def best(self, values: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """values (M, width), contiguous -> values (M, k) in descending order and indices (M, k) int64."""
        if values.shape[0] <= _FEW_ROWS and values.device.type == "cpu":
            unambiguous = self._without_ties(values, k)
            if unambiguous is not None:
                return unambiguous
        if 2 * k * self._block >= self._width:
            indices = self._keys(values).topk(k, dim=1).indices
            return values.gather(1, indices), indices
        return self._best_of_blocks(values, k)

    def _without_ties(self, values: Tensor, k: int) -> tuple[Tensor, Tensor] | None:
        """The answer of plain topk, or None if equal entries make it ambiguous."""
        top = values.topk(min(k + 1, self._width), dim=1)
        if bool((top.values[:, 1:] == top.values[:, :-1]).any()):
            return None
        return top.values[:, :k], top.indices[:, :k]

    def _best_of_blocks(self, values: Tensor, k: int) -> tuple[Tensor, Tensor]:
        rows, block = values.shape[0], self._block
        blocks = values.view(rows, -1, block)
        count = blocks.shape[1]
        chosen = self._keys(blocks.amax(dim=2)).topk(k, dim=1, sorted=False).indices
        chosen = chosen.sort(dim=1).values  # candidates in the order of their indices, so that ties are too
        first = torch.arange(0, rows * count, count, device=values.device).unsqueeze(1)
        candidates = values.view(-1, block).index_select(0, (chosen + first).view(-1)).view(rows, k * block)
        places = self._keys(candidates).topk(k, dim=1).indices
        owners = chosen.gather(1, torch.div(places, block, rounding_mode="floor"))
        return candidates.gather(1, places), owners * block + places % block

    def _keys(self, values: Tensor) -> Tensor:
        """(M, n) float32 -> int64 keys, no two equal in a row: larger value first, then lower place."""
        bits = (values + 0.0).view(torch.int32)  # + 0.0 makes -0.0 equal to 0.0
        bits.bitwise_xor_((bits >> 31).bitwise_and_(0x7FFFFFFF))
        return bits.long().bitwise_left_shift_(32).sub_(self._indices[: values.shape[1]])
