"""How a batch of whole documents is computed: the port that the offline lane uses, and it in torch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatehouse_server.network.head import Head
from gatehouse_server.network.network import Network
from gatehouse_server.network.packing import batch_sizes_of
from gatehouse_server.network.spec import TokenInputSpec

DocumentInputs = npt.NDArray[np.int64] | npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchScores:
    """`scores` (B, O) float32, in the order of the documents; `computed_steps` counts padding too."""

    scores: npt.NDArray[np.float32]
    computed_steps: int


class OfflineBackend(Protocol):
    """Computes one batch at a time for one model."""

    def score(self, documents: Sequence[DocumentInputs]) -> Generator[None, None, BatchScores]:
        """Scores of documents, longest first, each (T,) token ids or (T, N) features.

        Yields about every millisecond, so that the caller may do something else on the device before it goes
        on, or drop the batch.
        """


class TorchOfflineBackend:
    """Packed execution on a network: no step is computed for padding, no result depends on the neighbours.

    Documents are summarized by the model's poolings; without any, by the output at the last step.
    """

    def __init__(self, network: Network) -> None:
        """Raises ValueError for a network without head."""
        if network.head is None:
            raise ValueError("scores of documents need a network with a head, and this one has none")
        self._head: Head = network.head
        self._device = network.device
        self._reader = network.reader()
        self._input = network.spec.input

    @torch.inference_mode()
    def score(self, documents: Sequence[DocumentInputs]) -> Generator[None, None, BatchScores]:
        """See `OfflineBackend`. Raises ValueError for documents without steps or not longest first."""
        batch_sizes = batch_sizes_of([len(document) for document in documents])
        packed = yield from self._pack(documents, batch_sizes)
        on_device = packed.to(self._device, non_blocking=True)
        summary = yield from self._reader.summarize(on_device, batch_sizes)
        scores = self._scores(self._head.logits(summary)[:, : self._head.size])
        return BatchScores(scores=scores.cpu().numpy(), computed_steps=sum(batch_sizes))

    def _pack(
        self, documents: Sequence[DocumentInputs], batch_sizes: tuple[int, ...]
    ) -> Generator[None, None, Tensor]:
        """The documents' rows by step, (N,) or (N, F). Yields after each document: features may be many."""
        rows = sum(batch_sizes)
        # Memory that a GPU copies from by itself. torch keeps it for the next batch, once it has been copied.
        pinned = self._device.type == "cuda"
        if isinstance(self._input, TokenInputSpec):
            packed = torch.empty(rows, dtype=torch.int64, pin_memory=pinned)
        else:
            packed = torch.empty(rows, self._input.size, dtype=torch.float32, pin_memory=pinned)
        places = packed.numpy()
        first_rows = np.zeros(len(batch_sizes), dtype=np.int64)
        np.cumsum(batch_sizes[:-1], out=first_rows[1:])
        for row, document in enumerate(documents):
            places[first_rows[: len(document)] + row] = document
            yield
        return packed

    def _scores(self, logits: Tensor) -> Tensor:
        if self._head.kind == "softmax":
            return torch.softmax(logits, dim=1)
        if self._head.kind == "sigmoid":
            return torch.sigmoid(logits)
        return logits
