"""From what the output layer said of a tile's rows to the answers of a tick."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gatehouse_server.engine.online_backend import Floats, HeadAnswer, HeadRequest, Ids
from gatehouse_server.engine.programs import Flags, Reading, TickArithmetic


class AnswerBuilder:
    """Collects the answers to one request, tile by tile. Tiles may come from several threads at once."""

    def __init__(self, request: HeadRequest, arithmetic: TickArithmetic) -> None:
        head = arithmetic.network.head
        assert head is not None, "outputs are only asked of models with a head"
        self._request = request
        self._arithmetic = arithmetic
        self._head = head
        self._buckets = arithmetic.k_buckets
        count = len(request.rows)
        most = self._most = int(request.ks.max(initial=0))
        self._ids: Ids = np.empty((count, most), dtype=np.int64)
        self._values: Floats = np.empty((count, most), dtype=np.float32)
        self._scores: Floats = np.empty(len(request.score_rows), dtype=np.float32)
        self._vectors: Floats = np.empty((len(request.vector_rows), head.size), dtype=np.float32)
        self._restricted: dict[int, tuple[Ids, Floats]] = {}

    def ranked_together(self, begin: int, end: int) -> tuple[int, Flags | None]:
        """How many best entries to rank for all rows from `begin` up to `end`, and which rows leave some out."""
        bucket = 0
        if self._most:
            ks = self._request.ks[begin:end]
            for k in self._buckets:
                if ((ks > bucket) & (ks <= k)).any():
                    bucket = k
        suppressed = self._request.suppressed if self._arithmetic.suppresses else None
        if suppressed is None or bucket == 0 or not suppressed[begin:end].any():
            return bucket, None
        return bucket, suppressed[begin:end]

    def take(self, begin: int, end: int, reading: Reading) -> None:
        """What was read of the rows from `begin` up to `end`, their `ranked_together` entries among it."""
        request = self._request
        ranked = reading.values.shape[1]
        width = min(ranked, self._most)
        if width:
            self._ids[begin:end, :width] = reading.ids[:, :width]
            self._values[begin:end, :width] = reading.values[:, :width]
        if self._most > ranked:
            ks = request.ks[begin:end]
            for row in np.flatnonzero(ks > ranked).tolist():
                self._rank_alone(begin + row, int(ks[row]), reading.logits[row], reading.normalizer[row])
        for slot in _between(request.vector_rows, begin, end):
            row = int(request.vector_rows[slot]) - begin
            values = reading.logits[row, : self._head.size] - reading.normalizer[row]
            self._vectors[slot] = self._arithmetic.readable(values).cpu().numpy()
        scored = _between(request.score_rows, begin, end)
        if len(scored):
            at = self._send(request.score_rows[scored] - begin)
            values = reading.logits[at, self._send(request.score_tokens[scored])] - reading.normalizer[at]
            self._scores[scored] = self._arithmetic.readable(values).cpu().numpy()
        for number, (row, ids, k) in enumerate(request.restricted):
            if begin <= row < end:
                self._restricted[number] = _best_among(
                    reading.logits[row - begin], float(reading.normalizer[row - begin]), ids, k
                )

    def result(self) -> HeadAnswer:
        """All answers, when every tile was taken."""
        return HeadAnswer(
            best_ids=self._ids,
            best_values=self._values,
            scores=self._scores,
            vectors=self._vectors,
            restricted=[self._restricted[number] for number in range(len(self._request.restricted))],
        )

    def _rank_alone(self, row: int, k: int, logits: Tensor, normalizer: Tensor) -> None:
        """More entries than are ranked together."""
        logits = logits.unsqueeze(0)
        if self._request.suppressed is not None and self._request.suppressed[row]:
            logits = logits.index_fill(1, self._arithmetic.suppressed, -torch.inf)
        values, ids = self._head.best(logits, k)
        self._ids[row, :k] = ids[0].cpu().numpy()
        self._values[row, :k] = self._arithmetic.readable(values[0] - normalizer).cpu().numpy()

    def _send(self, array: Ids) -> Tensor:
        return torch.from_numpy(array).to(self._arithmetic.network.device)


def _between(rows: Ids, begin: int, end: int) -> Ids:
    """Where `rows` lie from `begin` up to `end`; most ticks ask for none."""
    return np.flatnonzero((rows >= begin) & (rows < end)) if len(rows) else rows


def _best_among(logits: Tensor, normalizer: float, ids: Ids, k: int) -> tuple[Ids, Floats]:
    """The k best of some ids; ties to the lower id, which a stable sort of ascending ids gives."""
    if len(ids) and ids[-1] - ids[0] == len(ids) - 1:
        values = logits[int(ids[0]) : int(ids[-1]) + 1].cpu().numpy()
    else:
        values = logits[torch.from_numpy(ids).to(logits.device)].cpu().numpy()
    order = np.argsort(-values, kind="stable")[:k]
    return ids[order], values[order] - np.float32(normalizer)
