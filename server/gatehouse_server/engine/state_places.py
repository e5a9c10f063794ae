"""Where the states of a tick lie that answers are made of."""

from __future__ import annotations

import numpy as np

from gatehouse_server.engine.online_backend import Ids, OnlineBatch


def reads_what_it_steps(batch: OnlineBatch) -> bool:
    """Whether every session takes one step and is read at its end, in order, and nothing else is."""
    rows = len(batch.source_rows)
    head = batch.head
    if head is None or len(head.rows) != rows or len(batch.batch_sizes) != 1 or len(batch.peeked_rows):
        return False
    after_steps = np.arange(rows, 2 * rows)  # they come after the sources, of which there are as many
    return bool((head.rows == after_steps).all())


def places_in_table(batch: OnlineBatch, states: Ids) -> Ids | None:
    """Where in the table these states of a tick lie, (M,): those which are looked at or which chunks end with.
    None when there are others among them, too."""
    sequences, peeked = len(batch.source_rows), len(batch.peeked_rows)
    after_steps = np.full(len(batch.inputs), -1, dtype=np.int64)
    begin = 0
    for size, following in zip(batch.batch_sizes, (*batch.batch_sizes, 0)[1:], strict=True):
        ending = slice(following, size)
        after_steps[begin + following : begin + size] = batch.target_rows[ending]
        begin += size
    # A source may be written by its own chunk, so it is not to be found in the table.
    in_table = np.concatenate([np.full(sequences, -1, dtype=np.int64), batch.peeked_rows, after_steps])
    assert len(in_table) == sequences + peeked + len(batch.inputs), "one place for each state"
    rows = in_table[states]
    return rows if (rows >= 0).all() else None
