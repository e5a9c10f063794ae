"""The port between the online engine and a device: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.value import value

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@value
class HeadRequest:
    """Which states go through the output layer, and what is read there.

    `rows` (M,) index the states of the tick: first the B source states, then the Z peeked states, then the N states
    after each packed step. `ks` (M,) tells how many best entries of each are answered (0: none). `suppressed` (M,)
    says where entries that
    are never suggested are left out of the best. `score_rows` and `score_tokens` (C,) ask for the log-probability
    of a token at a position of `rows`; `vector_rows` for the whole output; `restricted` for the k best among
    given ids, as (position in `rows`, ids, k).
    """

    rows: Ids
    ks: Ids
    suppressed: Flags | None
    score_rows: Ids
    score_tokens: Ids
    vector_rows: Ids
    restricted: Sequence[tuple[int, Ids, int]]


@value
class OnlineBatch:
    """A tick: B sequences with ragged chunks, longest first, and Z states that are only looked at.

    `inputs` is packed time-major, (N,) int64 or (N, F) float32, with `batch_sizes` rows at each step. States are
    read from `source_rows` (B,) and left in `target_rows` (B,). `hidden_rows` are states whose output of the top layer
    is wanted as it is, numbered as `HeadRequest.rows`; absent when none is.
    """

    inputs: Ids | Floats
    batch_sizes: tuple[int, ...]
    source_rows: Ids
    target_rows: Ids
    peeked_rows: Ids
    head: HeadRequest | None
    hidden_rows: Ids | None = None


@value
class HeadAnswer:
    """`best_ids` and `best_values` (M, K) hold of each row as many entries as it asked for, best first, and beyond them
    anything; K is the most that a row asked for. `scores` (C,) are values, `vectors` (number of vector rows, V),
    `restricted` its ids and values in order.

    Values are natural log-probabilities, normalised over the whole vocabulary, or plain values of a regression.
    """

    best_ids: Ids
    best_values: Floats
    scores: Floats
    vectors: Floats
    restricted: Sequence[tuple[Ids, Floats]]


@value
class OnlineAnswer:
    """`finite` (B,): whether a sequence's new state is finite. `head` and `hidden` (number of hidden rows, R) are there
    when they were asked for.
    """

    finite: Flags
    head: HeadAnswer | None
    hidden: Floats | None = None


class OnlineBackend(Protocol):
    """A model on a device with its table of states. Used by one thread."""

    @property
    def bytes_per_row(self) -> int:
        """Size of one state."""

    def run(self, batch: OnlineBatch) -> OnlineAnswer:
        """Computes a tick. When it raises, no row but the targets may have changed."""

    def read_states(self, rows: Ids) -> Floats:
        """The states of rows (B,) as they are now, (B, S): the parts of a state one after the other."""

    def write_states(self, rows: Ids, states: Floats) -> None:
        """Puts states (B, S) into rows (B,)."""
