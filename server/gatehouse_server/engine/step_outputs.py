"""What is wanted of every step of a batch of documents: computed a tile of rows at a time, kept until all are there."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatehouse_server.engine.documents import DocumentSteps, DocumentWants, Floats, Ids
from gatehouse_server.network.head import Head

Number = TypeVar("Number", np.int64, np.float32)

# A tile is as many rows as the output layer takes about a millisecond for, ...
_TILE_OPERATIONS = {"cpu": 1.2e8, "cuda": 2e10}
# ... but not so few that its weights are read for next to nothing, nor so many that their outputs fill the memory.
_LEAST_ROWS = 4
_MOST_NUMBERS = 2**24
_MOST_ROWS = {"cpu": 512, "cuda": 8192}


def tile_rows(head: Head | None, device: torch.device) -> int:
    """How many rows go through the output layer at once; without one, how many are handled at once."""
    most = _MOST_ROWS[device.type]
    if head is None:
        return most
    affordable = _TILE_OPERATIONS[device.type] / (2.0 * head.dense.inputs * head.width)
    return int(min(max(affordable, _LEAST_ROWS), most, max(_LEAST_ROWS, _MOST_NUMBERS // head.width)))


def outputs_of(head: Head, logits: Tensor, *, logarithmic: bool) -> Tensor:
    """logits (M, width) -> probabilities, log-probabilities or values (M, O)."""
    own = logits[:, : head.size]
    if head.kind == "softmax":
        return own - head.log_normalizer(logits).unsqueeze(1) if logarithmic else torch.softmax(own, dim=1)
    if head.kind == "sigmoid":
        return torch.nn.functional.logsigmoid(own) if logarithmic else torch.sigmoid(own)
    return own


class StepOutputs:
    """Collects what documents want of their steps; `take` is given them by a reader, in any order.

    `targets` (N,) int64 has for each packed row the token whose log-probability is wanted there.
    """

    def __init__(
        self, head: Head | None, wants: DocumentWants, *, rows: int, width: int, targets: Tensor | None
    ) -> None:
        self._head = head
        self._wants = wants
        self._targets = targets
        each = wants.every_step
        outputs = 0 if head is None else head.size
        self._best = min(wants.best, outputs) if each else 0
        self._outputs = np.empty((rows, outputs), np.float32) if each and wants.outputs else None
        self._hidden = np.empty((rows, width), np.float32) if each and wants.hidden else None
        self._best_ids = np.empty((rows, self._best), np.int64) if self._best else None
        self._best_values = np.empty((rows, self._best), np.float32) if self._best else None
        self._log_probabilities = np.empty(rows, np.float32) if wants.log_likelihood else None
        self._reads = head is not None and (wants.log_likelihood or (each and wants.needs_head))

    def take(self, rows: Tensor, hidden: Tensor) -> Generator[None, None, None]:
        """Takes what the recurrent layers hand on (n, R) at packed rows (n,), a tile at most."""
        at: Ids = rows.cpu().numpy()
        if self._hidden is not None:
            self._hidden[at] = hidden.cpu().numpy()
        if self._reads:
            self._read(rows, at, hidden)
        yield

    def of(self, places: Ids, places_before: Ids, first: Floats | None) -> DocumentSteps:
        """Those of the document whose steps lie at packed rows `places` (T,), and come after the rows `places_before`.

        Where nothing comes before the first one, `first` (1,) is its log-probability.
        """
        log_probabilities = _at(self._log_probabilities, places_before)
        if log_probabilities is not None and first is not None:
            log_probabilities = np.concatenate([first, log_probabilities])
        values, outputs = _at(self._best_values, places), _at(self._outputs, places)
        hidden = _at(self._hidden, places)
        parts = (values, outputs, hidden, log_probabilities)
        return DocumentSteps(
            best_ids=_at(self._best_ids, places),
            best_values=values,
            outputs=outputs,
            hidden=hidden,
            log_probabilities=log_probabilities,
            is_finite=all(bool(np.isfinite(part).all()) for part in parts if part is not None),
        )

    def _read(self, rows: Tensor, at: Ids, hidden: Tensor) -> None:
        head, wants = self._head, self._wants
        assert head is not None, "only a head reads"
        logits = head.logits(hidden)
        if self._log_probabilities is not None:
            self._log_probabilities[at] = self._expected(head, logits, rows).cpu().numpy()
        if self._outputs is None and self._best_ids is None:
            return
        outputs = outputs_of(head, logits, logarithmic=wants.logarithmic)
        if self._outputs is not None:
            self._outputs[at] = outputs.cpu().numpy()
        if self._best_ids is not None and self._best_values is not None:
            ids = head.best(logits, self._best)[1]
            self._best_ids[at] = ids.cpu().numpy()
            self._best_values[at] = outputs.gather(1, ids).cpu().numpy()

    def _expected(self, head: Head, logits: Tensor, rows: Tensor) -> Tensor:
        """The log-probability of each row's target (n,)."""
        assert self._targets is not None, "a log-likelihood is of tokens"
        targets = self._targets.index_select(0, rows)
        return logits.gather(1, targets.unsqueeze(1)).squeeze(1) - head.log_normalizer(logits)


def _at(packed: npt.NDArray[Number] | None, places: Ids) -> npt.NDArray[Number] | None:
    return None if packed is None else packed[places]
