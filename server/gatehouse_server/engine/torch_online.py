"""The online backend on torch, CPU or GPU: one preallocated table of states, gathered and scattered by row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from gatehouse_server.engine.online_backend import Floats, HeadAnswer, HeadRequest, OnlineAnswer, OnlineBatch
from gatehouse_server.engine.rows import INITIAL_ROW
from gatehouse_server.network.network import Network
from gatehouse_server.network.state import StateLayout

_FEW_ENTRIES = 16

HEAD_TILE_ROWS = 128
"""Rows of the output layer computed at once: their logits stay in a core's cache at a vocabulary of 10,000."""


class TorchOnlineBackend:
    """Runs a unidirectional network over a table of `capacity` states.

    `start_token` is consumed once, from zeros, to make the initial state. `suppressed` ids are never among the best
    of rows that ask for it.
    """

    def __init__(
        self,
        network: Network,
        *,
        capacity: int,
        start_token: int | None = None,
        suppressed: Sequence[int] = (),
    ) -> None:
        self._network = network
        self._device = network.device
        layout = network.layout
        self._output_part = layout.output_part
        self._bytes_per_row = layout.bytes_per_row
        self._table = _table(layout, capacity + 1, self._device)
        self._regression = network.head is not None and network.head.kind == "linear"
        self._independent = network.head is not None and network.head.kind == "sigmoid"
        self._ban: torch.Tensor | None = None
        if network.head is not None:
            ban = torch.zeros(network.head.width, device=self._device)
            ban[list(suppressed)] = -torch.inf
            self._ban = ban
        if start_token is not None:
            self._consume_start(start_token)

    @property
    def bytes_per_row(self) -> int:
        """Size of one state in bytes."""
        return self._bytes_per_row

    @torch.inference_mode()
    def run(self, batch: OnlineBatch) -> OnlineAnswer:
        """Computes a tick; see `OnlineBatch`."""
        state: tuple[torch.Tensor, ...] = ()
        sources: list[torch.Tensor] = []
        outputs: torch.Tensor | None = None
        rows = len(batch.source_rows)
        wants_sources = batch.head is not None and bool((batch.head.rows < rows).any())
        if rows:
            index = self._send(batch.source_rows)
            state = tuple(part.index_select(0, index) for part in self._table)
            if wants_sources:
                sources.append(state[self._output_part].clone())
            outputs = self._network.scan(self._send(batch.inputs), batch.batch_sizes, state)
        finite = self._finite(state, rows)
        if rows:
            target = self._send(batch.target_rows)
            for part, new in zip(self._table, state, strict=True):
                part.index_copy_(0, target, new)
        head = None
        if batch.head is not None:
            if len(batch.peeked_rows):
                sources.append(self._table[self._output_part].index_select(0, self._send(batch.peeked_rows)))
            head = self._read_head(batch.head, self._hidden(batch, sources, outputs, wants_sources))
        return OnlineAnswer(finite=finite, head=head)

    @torch.inference_mode()
    def read_states(self, rows: np.ndarray) -> Floats:
        """See `OnlineBackend`."""
        index = self._send(rows)
        states: Floats = torch.cat([part.index_select(0, index) for part in self._table], dim=1).cpu().numpy()
        return states

    @torch.inference_mode()
    def write_states(self, rows: np.ndarray, states: Floats) -> None:
        """See `OnlineBackend`."""
        index = self._send(rows)
        new = torch.split(self._send(states), [part.shape[1] for part in self._table], dim=1)
        for part, values in zip(self._table, new, strict=True):
            part.index_copy_(0, index, values)

    def _hidden(
        self,
        batch: OnlineBatch,
        sources: list[torch.Tensor],
        outputs: torch.Tensor | None,
        wants_sources: bool,
    ) -> torch.Tensor:
        """The states that the head reads, (M, R), gathered from sources, peeked states and step outputs."""
        assert batch.head is not None
        skipped = 0 if wants_sources else len(batch.source_rows)
        parts = [*sources, outputs] if outputs is not None else sources
        states = parts[0] if len(parts) == 1 else torch.cat(parts)
        return states.index_select(0, self._send(batch.head.rows - skipped))

    def _read_head(self, request: HeadRequest, hidden: torch.Tensor) -> HeadAnswer:
        head = self._network.head
        assert head is not None, "outputs are only asked of models with a head"
        count = len(request.rows)
        best: list[tuple[np.ndarray, np.ndarray] | None] = [None] * count
        scores = np.empty(len(request.score_rows), dtype=np.float32)
        vectors = np.empty((len(request.vector_rows), head.size), dtype=np.float32)
        restricted: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for begin in range(0, count, HEAD_TILE_ROWS):
            end = min(begin + HEAD_TILE_ROWS, count)
            logits = head.logits(hidden[begin:end])
            shift = self._shift(logits)
            for slot in _between(request.vector_rows, begin, end):
                vectors[slot] = self._vector(logits, shift, int(request.vector_rows[slot]) - begin, head.size)
            chosen = _between(request.score_rows, begin, end)
            if len(chosen):
                at = self._send(request.score_rows[chosen] - begin)
                values = logits[at, self._send(request.score_tokens[chosen])] - shift[at]
                scores[chosen] = self._readable(values).cpu().numpy()
            for number, (row, ids, k) in enumerate(request.restricted):
                if begin <= row < end:
                    restricted[number] = self._best_among(
                        logits[row - begin], float(shift[row - begin]), ids, k
                    )
            if request.suppressed is not None and request.suppressed[begin:end].any():
                assert self._ban is not None
                logits[self._send(np.flatnonzero(request.suppressed[begin:end]))] += self._ban
            for k, rows in _by_k(request.ks[begin:end]):
                index = None if rows is None else self._send(rows)
                values, ids_tensor = head.best(logits if index is None else logits[index], k)
                normalizers = shift if index is None else shift[index]
                readable = self._readable(values - normalizers.unsqueeze(1)).cpu().numpy()
                entries = zip(ids_tensor.cpu().numpy(), readable, strict=True)
                if rows is None:
                    best[begin:end] = entries
                else:
                    for place, entry in zip((rows + begin).tolist(), entries, strict=True):
                        best[place] = entry
        return HeadAnswer(
            best=best,
            scores=scores,
            vectors=vectors,
            restricted=[restricted[number] for number in range(len(request.restricted))],
        )

    def _shift(self, logits: torch.Tensor) -> torch.Tensor:
        """What to subtract from logits to get the values that are answered, (M,)."""
        assert self._network.head is not None
        if self._regression or self._independent:
            return torch.zeros(len(logits), device=logits.device)
        return self._network.head.log_normalizer(logits)

    def _vector(self, logits: torch.Tensor, shift: torch.Tensor, row: int, size: int) -> Floats:
        values: Floats = self._readable(logits[row, :size] - shift[row]).cpu().numpy()
        return values

    def _readable(self, values: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of independent labels are log-sigmoids; the others are normalised by the shift."""
        return torch.nn.functional.logsigmoid(values) if self._independent else values

    def _best_among(
        self, logits: torch.Tensor, shift: float, ids: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best of some ids; ties to the lower id, which a stable sort of ascending ids gives."""
        if len(ids) and ids[-1] - ids[0] == len(ids) - 1:
            values = logits[int(ids[0]) : int(ids[-1]) + 1].cpu().numpy()
        else:
            values = logits[self._send(ids)].cpu().numpy()
        order = np.argsort(-values, kind="stable")[:k]
        return ids[order], values[order] - np.float32(shift)

    def _finite(self, state: tuple[torch.Tensor, ...], rows: int) -> np.ndarray:
        """Whether each sequence's state is finite, (B,). Sums are cheap: first one of everything, then one of each row
        if need be; only a suspicious row is looked at whole."""
        finite = np.ones(rows, dtype=np.bool_)
        if not state or math.isfinite(sum(part.sum() for part in state)):
            return finite
        for part in state:
            sums = part.sum(dim=1).cpu().numpy()
            for row in np.flatnonzero(~np.isfinite(sums)):
                finite[row] &= bool(torch.isfinite(part[row]).all())
        return finite

    def _consume_start(self, token: int) -> None:
        with torch.inference_mode():
            state = tuple(part[INITIAL_ROW : INITIAL_ROW + 1].clone() for part in self._table)
            self._network.scan(torch.tensor([token], device=self._device), (1,), state)
            for part, new in zip(self._table, state, strict=True):
                part[INITIAL_ROW] = new[0]

    def _send(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def _between(rows: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Where `rows` lie from `begin` up to `end`; most ticks ask for none."""
    return np.flatnonzero((rows >= begin) & (rows < end)) if len(rows) else rows


def _by_k(ks: np.ndarray) -> list[tuple[int, np.ndarray | None]]:
    """Rows that are ranked together, with how many entries; None stands for all rows.

    Small numbers cost the same and go together. A large one goes by itself: the others need not pay for it.
    """
    small = (ks > 0) & (ks <= _FEW_ENTRIES)
    if small.all():
        return [(int(ks.max()), None)]
    groups: list[tuple[int, np.ndarray | None]] = []
    if small.any():
        groups.append((int(ks[small].max()), np.flatnonzero(small)))
    groups += [(int(k), np.flatnonzero(ks == k)) for k in np.unique(ks[ks > _FEW_ENTRIES])]
    return groups


def _table(layout: StateLayout, rows: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Zero states, one tensor (rows, width) for each part.

    On a CPU they come from numpy, whose zeros are mapped on first touch: an unused row costs address space only.
    torch fills its own.
    """
    if device.type != "cpu":
        return layout.zeros(rows, device)
    return tuple(torch.from_numpy(np.zeros((rows, part.width), dtype=np.float32)) for part in layout.parts)
