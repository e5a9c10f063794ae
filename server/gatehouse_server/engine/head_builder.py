"""Which states of a tick its jobs want answers of: through the output layer, or as they are. Pure numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gatehouse_server.engine.job import Ids, Job
from gatehouse_server.engine.online_backend import HeadRequest


class HeadReader(NamedTuple):
    """A step that a job wants outputs of: `row` of the head request, if any, and where its answers stand.

    One is made for each session of each tick: a tuple costs a third of a frozen dataclass.
    """

    job: Job
    row: int | None
    restricted: int | None = None
    vector: int | None = None
    watched: int | None = None
    hidden: int | None = None


class HeadBuilder:
    """Collects the rows that go through the output layer, and those that are handed out as they are."""

    def __init__(self, *, sources: int, peeked: int, batch_sizes: tuple[int, ...]) -> None:
        self._peek_offset = sources
        self._step_offsets = [sources + peeked]
        for size in batch_sizes:
            self._step_offsets.append(self._step_offsets[-1] + size)
        self._rows: list[int] = []
        self._suppressed: list[bool] = []
        self._ks: list[int] = []
        self._score_rows: list[int] = []
        self._score_tokens: list[int] = []
        self._vector_rows: list[int] = []
        self._restricted: list[tuple[int, np.ndarray, int]] = []
        self._hidden: list[int] = []
        self.readers: list[HeadReader] = []
        self.scored: list[tuple[int, Job]] = []

    def add_steps(self, job: Job, place: int, steps: int) -> None:
        """The rows that a job with steps in this tick needs."""
        wants = job.wants
        if not wants.scores and not wants.every_step:
            # What nearly every job wants, without a look at each of its steps: its last one, or nothing.
            if wants.per_step and job.remaining == steps:
                self._read(job, self._step_offsets[steps - 1] + place)
            return
        rows_after_step: dict[int, int | None] = {}
        if wants.per_step:
            last = job.remaining == steps
            for step in range(steps) if wants.every_step else range(steps - 1, steps) if last else ():
                rows_after_step[step] = self._read(job, self._step_offsets[step] + place)
        if wants.scores:
            for step in range(steps):
                # A token is scored by the state before it: the source for the first one, else the step before.
                row = rows_after_step.get(step - 1)
                if row is None:
                    state = place if step == 0 else self._step_offsets[step - 1] + place
                    row = self._row(state, k=0, suppressed=False)
                self.scored.append((self._score(row, int(job.inputs[job.consumed + step])), job))

    def add_peek(self, job: Job, place: int) -> None:
        """The row of a job that only looks at its source state."""
        if job.wants.per_step:
            self._read(job, self._peek_offset + place)

    def request(self) -> HeadRequest | None:
        """The head request, absent when nobody asked for outputs."""
        if not self._rows:
            return None
        return HeadRequest(
            rows=np.array(self._rows, dtype=np.int64),
            ks=np.array(self._ks, dtype=np.int64),
            suppressed=np.array(self._suppressed) if any(self._suppressed) else None,
            score_rows=np.array(self._score_rows, dtype=np.int64),
            score_tokens=np.array(self._score_tokens, dtype=np.int64),
            vector_rows=np.array(self._vector_rows, dtype=np.int64),
            restricted=self._restricted,
        )

    def hidden_rows(self) -> Ids | None:
        """The states that are handed out as they are, absent when nobody asked for any."""
        return np.array(self._hidden, dtype=np.int64) if self._hidden else None

    def _row(self, state: int, *, k: int, suppressed: bool) -> int:
        self._rows.append(state)
        self._ks.append(k)
        self._suppressed.append(suppressed)
        return len(self._rows) - 1

    def _score(self, row: int, token: int) -> int:
        self._score_rows.append(row)
        self._score_tokens.append(token)
        return len(self._score_rows) - 1

    def _read(self, job: Job, state: int) -> int | None:
        wants = job.wants
        hidden = None
        if wants.hidden:
            hidden = len(self._hidden)
            self._hidden.append(state)
        if not wants.reads:
            self.readers.append(HeadReader(job, None, hidden=hidden))
            return None
        row = self._row(state, k=wants.k if wants.candidates is None else 0, suppressed=wants.suppressed)
        restricted = vector = None
        watched = None if wants.watched is None else self._score(row, wants.watched)
        if wants.candidates is not None:
            restricted = len(self._restricted)
            self._restricted.append((row, wants.candidates, wants.k))
        if wants.vector:
            vector = len(self._vector_rows)
            self._vector_rows.append(row)
        self.readers.append(HeadReader(job, row, restricted, vector, watched, hidden))
        return row
