"""The output layer: from the recurrent output to logits, their normalizer, and the best of them."""

import math

import torch
from torch import Tensor

from gatehouse_server.network.dense import Dense, Precision
from gatehouse_server.network.selection import Selection
from gatehouse_server.network.spec import HeadKind, HeadSpec
from gatehouse_server.network.workspace import Workspace

_SMALLEST_BLOCK, _LARGEST_BLOCK = 32, 256
_TILE_NUMBERS = 2**17  # exponentials are computed for about this many logits at once, half a megabyte


class Head:
    """`size` outputs, padded to `width` columns that are always minus infinity.

    Logits are reproducible to the bit as `Dense` says.
    """

    def __init__(
        self,
        spec: HeadSpec,
        weight: Tensor,
        bias: Tensor | None,
        workspace: Workspace,
        precision: Precision = "float32",
    ) -> None:
        """weight (O, R), bias (O,)."""
        self.kind: HeadKind = spec.kind
        self.size = spec.size
        block = _block_of(spec.size)
        self.width = -(-spec.size // block) * block
        padding = self.width - spec.size
        bias = weight.new_zeros(spec.size) if bias is None else bias
        self.dense = Dense(
            torch.nn.functional.pad(weight.float(), (0, 0, 0, padding)),
            torch.nn.functional.pad(bias.float(), (0, padding), value=-math.inf),
            precision,
        )
        self._selection = Selection(self.width, block, weight.device)
        self._workspace = workspace

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden (M, R) -> logits (M, width), a tensor of its own; columns from `size` on are -inf."""
        return self.dense.product(hidden)

    def log_normalizer(self, logits: Tensor) -> Tensor:
        """logits (M, width) -> (M,): log of the sum of exp(logit); log p = logit - log normalizer.

        exp is taken as a power of two, which is several times faster on some processors.
        """
        most = logits.amax(dim=1)
        total = torch.empty_like(most)
        tile_rows = max(1, _TILE_NUMBERS // self.width)
        for start in range(0, logits.shape[0], tile_rows):
            part = logits[start : start + tile_rows]
            powers = self._workspace.take("powers", part.shape[0], self.width)
            torch.sub(part, most[start : start + tile_rows].unsqueeze(1), out=powers)
            powers.mul_(math.log2(math.e)).exp2_()
            torch.sum(powers, dim=1, out=total[start : start + tile_rows])
        return total.log_().add_(most)

    def best(self, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k largest: values (M, k), descending, and ids (M, k) int64; equal ones by ascending id.

        Raises ValueError unless 1 <= k <= size.
        """
        if not 1 <= k <= self.size:
            raise ValueError(f"k: expected 1..{self.size}, got {k}")
        return self._selection.best(logits, k)


def _block_of(size: int) -> int:
    """A power of two near sqrt(size / 4): block maxima and candidates for k = 4 are then equally many."""
    block = 1 << max(0, round(math.log2(size / 4) / 2))
    return min(max(block, _SMALLEST_BLOCK), _LARGEST_BLOCK)
