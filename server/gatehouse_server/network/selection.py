"""The exact k largest entries of every row, equal ones in the order of their index.

`torch.topk` leaves open which of several equal entries it takes, and costs as much over a vocabulary as the
product that made it. Rows are cut into blocks instead: the k blocks that are best by (largest entry, lower
index) hold the k entries that are best by (value, lower index). For an entry outside them is beaten by one
entry in each of k blocks.

Values and indices are compared as one number: the value in double precision, less a share of it that grows with
the index and stays below half the distance to the next smaller float. Two floats differ by at least 2^-24 of their
size, or by 2^-149 near zero; the share is at most 2^-26 of it, and 2^-176 near zero, up to 2^24 entries.
"""

import torch
from torch import Tensor

_SHARE_OF_INDEX = 2.0**-50
_SHARE_AT_ZERO = 2.0**-200
_BEYOND_FLOATS = 2.0**128  # stands for infinity, so that infinite entries have an order, too
_MOST_ENTRIES = 2**24
_FEW_ROWS = 4  # up to here topk over whole rows costs less than the calls of the other way (CPU)


class Selection:
    """Finds the largest entries of rows that are `width` wide, in blocks of `block` entries each."""

    def __init__(self, width: int, block: int, device: torch.device) -> None:
        if width % block:
            raise ValueError(f"width: expected a multiple of the block {block}, got {width}")
        if width > _MOST_ENTRIES:
            raise ValueError(f"width: expected at most {_MOST_ENTRIES}, got {width}")
        self._width = width
        self._block = block
        self._blocks = width // block
        self._minus_indices = torch.arange(0, -width, -1, dtype=torch.float64, device=device)

    def best(self, values: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """values (M, width), contiguous -> values (M, k) in descending order and indices (M, k) int64."""
        if values.shape[0] <= _FEW_ROWS and values.device.type == "cpu":
            unambiguous = self._without_ties(values, k)
            if unambiguous is not None:
                return unambiguous
        return self.best_of_many(values, k)

    def _without_ties(self, values: Tensor, k: int) -> tuple[Tensor, Tensor] | None:
        """The answer of plain topk, or None if equal entries make it ambiguous."""
        top = values.topk(min(k + 1, self._width), dim=1)
        if bool((top.values[:, 1:] == top.values[:, :-1]).any()):
            return None
        return top.values[:, :k], top.indices[:, :k]

    def best_of_many(self, values: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """What `best` answers, the same way for any number of rows: it may be recorded, and run for others."""
        if 2 * k * self._block < self._width:
            return self._best_of_blocks(values, k)
        indices = self._keys(values).topk(k, dim=1).indices
        return values.gather(1, indices), indices

    def _best_of_blocks(self, values: Tensor, k: int) -> tuple[Tensor, Tensor]:
        rows, block = values.shape[0], self._block
        blocks = values.view(-1, self._blocks, block)
        chosen = self._keys(blocks.amax(dim=2)).topk(k, dim=1, sorted=False).indices
        chosen = chosen.sort(dim=1).values  # candidates in the order of their indices, so that ties are too
        first = torch.arange(rows, device=values.device).mul_(self._blocks).unsqueeze(1)
        candidates = values.view(-1, block).index_select(0, (chosen + first).view(-1)).view(-1, k * block)
        places = self._keys(candidates).topk(k, dim=1).indices
        owners = chosen.gather(1, torch.div(places, block, rounding_mode="floor"))
        return candidates.gather(1, places), owners * block + places % block

    def _keys(self, values: Tensor) -> Tensor:
        """(M, n) float32 -> (M, n) float64, no two equal in a row: larger value first, then lower place."""
        wide = values.double().clamp_(-_BEYOND_FLOATS, _BEYOND_FLOATS)
        share = wide.abs().mul_(_SHARE_OF_INDEX).add_(_SHARE_AT_ZERO)
        return wide.addcmul_(share, self._minus_indices[: values.shape[1]])
