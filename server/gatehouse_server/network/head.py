"""The output layer: from the recurrent output to logits, their normalizer, and the best of them."""

import math

import torch
from torch import Tensor

from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic
from gatehouse_server.network.dense import Dense
from gatehouse_server.network.recording import with_its_loops
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
        arithmetic: Arithmetic = FLOAT32,
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
            arithmetic,
        )
        self._selection = Selection(self.width, block, weight.device)
        self._powers = workspace

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden (M, R) -> logits (M, width), a tensor of its own; columns from `size` on are -inf."""
        return self.dense.product(hidden)

    def log_normalizer(self, logits: Tensor) -> Tensor:
        """logits (M, width) -> (M,): log of the sum of exp(logit); log p = logit - log normalizer.

        exp is taken as a power of two, which is several times faster on some processors.
        """
        if logits.device.type != "cpu":
            return normalizer_of_softmax(logits)
        most = logits.amax(dim=1)
        powers = self._powers.take("powers", max(1, _TILE_NUMBERS // self.width), self.width)
        return _sums_of_powers(logits, most, powers).log_().add_(most)

    def best_of_many(self, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """What `best` answers, in a way that may be recorded."""
        return self._selection.best_of_many(logits, k)

    def best(self, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k largest: values (M, k), descending, and ids (M, k) int64; equal ones by ascending id.

        Raises ValueError unless 1 <= k <= size.
        """
        if not 1 <= k <= self.size:
            raise ValueError(f"k: expected 1..{self.size}, got {k}")
        return self._selection.best(logits, k)


def normalizer_of_softmax(logits: Tensor) -> Tensor:
    """The same in the fewest passes over memory, for GPUs: the logarithm of the largest probability tells.

    torch's softmax there sums each row by itself, whatever their number, as its sums over rows do not.
    """
    most, places = logits.max(dim=1)
    return most - torch.log_softmax(logits, dim=1).gather(1, places.unsqueeze(1)).squeeze(1)


@with_its_loops
def _sums_of_powers(logits: Tensor, most: Tensor, powers: Tensor) -> Tensor:
    """exp(logits - most) summed over each row, in tiles of as many rows as `powers` has, which is scratch."""
    totals = torch.empty_like(most)
    tile = powers.shape[0]
    for start in range(0, logits.shape[0], tile):
        part = logits[start : start + tile]
        room = powers[: part.shape[0]]
        torch.sub(part, most[start : start + tile].unsqueeze(1), out=room)
        room.mul_(1.4426950408889634).exp2_()  # log2(e)
        torch.sum(room, dim=[1], out=totals[start : start + tile])
    return totals


def _block_of(size: int) -> int:
    """A power of two near sqrt(size / 4): block maxima and candidates for k = 4 are then equally many."""
    block = 1 << max(0, round(math.log2(size / 4) / 2))
    return min(max(block, _SMALLEST_BLOCK), _LARGEST_BLOCK)
