"""A tick's arithmetic as few calls over the state table, for as many rows as a tile has.

`step` reads the states of some rows, takes one step and leaves the new states in other rows; `read` runs the output
layer on states that lie in the table. Most ticks are one of each for every session, so they are one call, too.
How the calls are run is left to others: as they are written, recorded as one call each (`recorded_programs`), or as
graphs of a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatehouse_server.network.network import Network

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

_BUCKETS = (5, 16)
"""How many best entries are ranked at once. More are ranked row by row: it costs the others nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the output layer said of M rows: the best `values` (M, K) with their `ids`, the `normalizer` (M,) that
    they are less by, and all `logits` (M, width). The tensors are valid until the next call.
    """

    values: Floats
    ids: Ids
    normalizer: Tensor
    logits: Tensor


class Programs(Protocol):
    """The calls. Row numbers are of the state table; `suppressed` tells where some entries are never among the best.

    `k` is one of `TickArithmetic.k_buckets`. A call takes at most `tile_rows` rows.
    """

    tile_rows: int

    def step(self, inputs: Ids | Floats, sources: Ids, targets: Ids) -> float:
        """inputs (M,) or (M, N). Returns a sum of all new states, which tells whether they are finite."""
        ...

    def read(self, rows: Ids, k: int, suppressed: Flags | None) -> Reading:
        """What the head answers for the states of these rows."""
        ...

    def step_and_read(
        self, inputs: Ids | Floats, sources: Ids, targets: Ids, k: int, suppressed: Flags | None
    ) -> tuple[float, Reading]:
        """Both, reading the new states."""
        ...


class TickArithmetic:
    """The computations, as functions of tensors alone: the same operators for any number of rows.

    `table` holds the states, one tensor (rows, width) for each part of the layout; `suppressed` are the ids of entries
    that are never among the best of rows which leave them out.
    """

    def __init__(self, network: Network, table: Sequence[Tensor], suppressed: Sequence[int]) -> None:
        self.network = network
        self.table = tuple(table)
        self._output = self.table[network.layout.output_part]
        self._suppressed_count = len(suppressed)
        self.suppressed = torch.tensor(list(suppressed), dtype=torch.int64, device=network.device)
        kind = None if network.head is None else network.head.kind
        self._normalizes = kind == "softmax"
        self._is_independent = kind == "sigmoid"

    @property
    def suppresses(self) -> bool:
        """Whether there are entries that rows may leave out."""
        return self._suppressed_count > 0

    @property
    def k_buckets(self) -> tuple[int, ...]:
        """How many best entries can be ranked for many rows at once, none included, suppressed ones left out."""
        head = self.network.head
        if head is None:
            return ()
        most = max(0, head.size - self._suppressed_count)
        return tuple(sorted({0, *(min(k, most) for k in _BUCKETS)}))

    def step(self, inputs: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
        """The sum of the new states, ()."""
        return self._advance(inputs, sources, targets)[0]

    def read(self, rows: Tensor, k: int, suppressed: Tensor | None = None) -> tuple[Tensor, ...]:
        """Values (M, k), ids (M, k), normalizer (M,) and logits (M, width); entries left out where `suppressed` (M,)
        says so."""
        return self.rank(self._output.index_select(0, rows), k, suppressed)

    def step_and_read(
        self, inputs: Tensor, sources: Tensor, targets: Tensor, k: int, suppressed: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The sum, then what `read` returns of the new states."""
        total, outputs = self._advance(inputs, sources, targets)
        return (total, *self.rank(outputs, k, suppressed))

    def _advance(self, inputs: Tensor, sources: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        state = tuple(part.index_select(0, sources) for part in self.table)
        outputs = self.network.step_in_place(inputs, state)
        total = state[0].sum()
        for part in state[1:]:
            total = total + part.sum()
        for part, new in zip(self.table, state, strict=True):
            part.index_copy_(0, targets, new)
        return total, outputs

    def rank(self, hidden: Tensor, k: int, suppressed: Tensor | None) -> tuple[Tensor, ...]:
        """What `read` returns of states that are not in the table, hidden (M, R)."""
        head = self.network.head
        assert head is not None, "outputs are only asked of models with a head"
        logits = head.logits(hidden)
        normalizer = self.normalizer(logits)
        if k == 0:
            none = logits[:, :0]
            return none, none.long(), normalizer, logits
        if suppressed is None or not self.suppresses:
            values, ids = head.best_of_many(logits, k)
        else:
            banned = self.suppressed.unsqueeze(0).expand(hidden.shape[0], -1)
            kept = logits.gather(1, banned)
            logits.scatter_(1, banned, kept.masked_fill(suppressed.unsqueeze(1), -torch.inf))
            values, ids = head.best_of_many(logits, k)
            logits.scatter_(1, banned, kept)
        return self.readable(values - normalizer.unsqueeze(1)), ids, normalizer, logits

    def normalizer(self, logits: Tensor) -> Tensor:
        """What to subtract from logits to get the values that are answered, (M,)."""
        assert self.network.head is not None, "only a head makes logits"
        return (
            self.network.head.log_normalizer(logits)
            if self._normalizes
            else logits.new_zeros(logits.shape[0])
        )

    def readable(self, values: Tensor) -> Tensor:
        """Log-probabilities of independent labels are log-sigmoids; the others are normalised by a subtraction."""
        return torch.nn.functional.logsigmoid(values) if self._is_independent else values


class PlainPrograms:
    """Runs the computations as they are written."""

    def __init__(self, arithmetic: TickArithmetic, *, tile_rows: int) -> None:
        self._arithmetic = arithmetic
        self.tile_rows = tile_rows

    def step(self, inputs: Ids | Floats, sources: Ids, targets: Ids) -> float:
        """See `Programs`."""
        total = self._arithmetic.step(self._send(inputs), self._send(sources), self._send(targets))
        return float(total)

    def read(self, rows: Ids, k: int, suppressed: Flags | None) -> Reading:
        """See `Programs`."""
        flags = None if suppressed is None else self._send(suppressed)
        return reading_of(self._arithmetic.read(self._send(rows), k, flags))

    def step_and_read(
        self, inputs: Ids | Floats, sources: Ids, targets: Ids, k: int, suppressed: Flags | None
    ) -> tuple[float, Reading]:
        """See `Programs`."""
        sent = self._send(inputs), self._send(sources), self._send(targets)
        flags = None if suppressed is None else self._send(suppressed)
        total, *read = self._arithmetic.step_and_read(*sent, k, flags)
        return float(total), reading_of(read)

    def _send(self, array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self._arithmetic.network.device)


def reading_of(read: Sequence[Tensor]) -> Reading:
    """The best entries fetched from the device, the rest left there."""
    values, ids, normalizer, logits = read
    return Reading(values=values.cpu().numpy(), ids=ids.cpu().numpy(), normalizer=normalizer, logits=logits)
