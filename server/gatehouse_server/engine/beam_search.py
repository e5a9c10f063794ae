"""Which sequences of tokens a decoder is asked to go on with, and which of those that ended are the best.

At each step a document's hypotheses are continued by every token, and the `beam_size` likeliest continuations are
kept. Those that end leave the beam, and compete by log-probability divided by the length penalty. A hypothesis can only
become less likely, and its penalty only grow to that of the longest output. As soon as not even that would make the
likeliest one better than the worst that would be answered, the search is over, with the result that it would have had
at its end. Of equal ones that comes first whose parent does, then the lower token.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.transduction import Hypothesis, TransductionWants

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Complete:
    """A hypothesis that nothing is added to: `row` after `step` steps is its last token, or the one before its end."""

    score: float
    log_probability: float
    step: int
    row: int
    ended: bool


class BeamSearch:
    """The search for some documents at once, which do not see each other.

    Its rows are the hypotheses that go on, those of a document next to each other, likeliest first. `tokens` (R,) is
    what the decoder is to be given for each; `parents` (R,) the row that each had a step ago, whose state it goes on
    from. At first each document is one row.
    """

    def __init__(self, documents: int, wants: TransductionWants, *, start_id: int, end_id: int) -> None:
        self._wants = wants
        self._end_id = end_id
        self._least_penalized = wants.penalty(wants.max_output_steps)
        self._step = 0
        self._owners = np.arange(documents)
        self._sums = np.zeros(documents)
        self.tokens: Ids = np.full(documents, start_id, dtype=np.int64)
        self.parents: Ids = np.arange(documents)
        self._history: list[tuple[Ids, Ids]] = []  # tokens and parents of the rows after each step
        self._best: list[list[_Complete]] = [[] for _ in range(documents)]
        self._worst = np.full(documents, -np.inf)  # score of the last of the best; -inf while there is room
        self._broken = np.zeros(documents, dtype=bool)

    def __len__(self) -> int:
        """R: rows that the decoder has to advance; 0 when the search is over."""
        return len(self.tokens)

    def advance(self, values: npt.NDArray[np.float32], ids: Ids) -> None:
        """Takes for each row its likeliest next tokens, `ids` (R, k), with their natural log-probabilities (R, k), best
        first and equal ones by ascending id: as many as the beam is wide, or all there are. Those of minus infinity are
        never taken.
        """
        parents, sums, tokens = self._likeliest(values.astype(np.float64), ids)
        owners = self._owners[parents]
        ended = tokens == self._end_id
        for owner, total, parent in zip(
            owners[ended].tolist(), sums[ended].tolist(), parents[ended].tolist(), strict=True
        ):
            self._complete(owner, total, self._step, parent, ended=True)
        self._step += 1
        self._go_on(np.flatnonzero(~ended), owners, sums, tokens, parents)
        if self._step == self._wants.max_output_steps:
            for row, (owner, total) in enumerate(
                zip(self._owners.tolist(), self._sums.tolist(), strict=True)
            ):
                self._complete(owner, total, self._step, row, ended=False)
            self.tokens = self.tokens[:0]

    def results(self) -> list[tuple[Hypothesis, ...] | None]:
        """Of each document the best outputs, best first; None where a log-probability was not a number."""
        return [
            None if broken else tuple(self._hypothesis(each) for each in best)
            for broken, best in zip(self._broken.tolist(), self._best, strict=True)
        ]

    def _likeliest(
        self, values: npt.NDArray[np.float64], ids: Ids
    ) -> tuple[Ids, npt.NDArray[np.float64], Ids]:
        """Parents, log-probabilities and tokens of the continuations that are kept, in the order of their documents,
        likeliest first.
        """
        beam, columns = self._wants.beam_size, values.shape[1]
        totals = self._sums[:, np.newaxis] + values
        self._broken[self._owners[np.isnan(totals).any(axis=1)]] = True
        totals[self._broken[self._owners]] = -np.inf
        _, first_rows, places = np.unique(self._owners, return_index=True, return_inverse=True)
        ranks = np.arange(len(self._owners)) - first_rows[places]
        grid = np.full((len(first_rows), beam, columns), -np.inf)
        grid[places, ranks] = totals
        flat = grid.reshape(len(first_rows), beam * columns)
        # Stable, so that of equal ones the first comes first: the earlier parent, then the lower token.
        order = np.argsort(-flat, axis=1, kind="stable")[:, :beam]
        chosen = np.take_along_axis(flat, order, axis=1)
        documents, kept = np.nonzero(chosen > -np.inf)
        cells = order[documents, kept]
        parents = first_rows[documents] + cells // columns
        return parents, chosen[documents, kept], ids[parents, cells % columns]

    def _go_on(
        self, rows: Ids, owners: Ids, sums: npt.NDArray[np.float64], tokens: Ids, parents: Ids
    ) -> None:
        """Leaves of these rows those of documents whose search is not over."""
        if len(rows):
            # The first row of a document is its likeliest, so it tells for all of them.
            _, first, places = np.unique(owners[rows], return_index=True, return_inverse=True)
            best = rows[first]
            rows = rows[(sums[best] / self._least_penalized > self._worst[owners[best]])[places]]
        self._owners, self._sums = owners[rows], sums[rows]
        self.tokens, self.parents = tokens[rows], parents[rows]
        self._history.append((self.tokens, self.parents))

    def _complete(self, owner: int, total: float, step: int, row: int, *, ended: bool) -> None:
        """Takes a hypothesis among the best of its document, if it is one of them."""
        length = step + 1 if ended else step
        score = total / self._wants.penalty(length)
        if score <= self._worst[owner]:
            return
        best, most = self._best[owner], self._wants.alternatives
        insort(best, _Complete(score, total, step, row, ended), key=lambda each: -each.score)
        del best[most:]
        if len(best) == most:
            self._worst[owner] = best[-1].score

    def _hypothesis(self, complete: _Complete) -> Hypothesis:
        tokens: list[int] = []
        row = complete.row
        for own, parents in reversed(self._history[: complete.step]):
            tokens.append(int(own[row]))
            row = int(parents[row])
        return Hypothesis(
            token_ids=tuple(reversed(tokens)),
            log_probability=complete.log_probability,
            score=complete.score,
            ended=complete.ended,
        )
