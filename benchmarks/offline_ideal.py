"""The ideal loop over documents: all in memory, sorted by length, in batches through `nn.LSTM`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from gatehouse_server.network.spec import NetworkSpec, TokenInputSpec
from torch import Tensor, nn

from benchmarks.document_mix import Ids

Scores = npt.NDArray[np.float32]


class Ideal(nn.Module):
    """A classifier as anyone would write it: embedding, LSTM, mean and maximum over the steps, linear."""

    def __init__(self, spec: NetworkSpec, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        assert isinstance(spec.input, TokenInputSpec)
        assert spec.head is not None
        lowest = spec.recurrent.layers[0]
        self.embedding = nn.Embedding(spec.input.vocabulary_size, spec.input.embedding_size)
        self.rnn = nn.LSTM(
            lowest.input_size,
            lowest.hidden_size,
            len(spec.recurrent.layers),
            bidirectional=lowest.direction == "both",
        )
        self.head = nn.Linear(spec.summary_size, spec.head.size)
        self.load_state_dict(dict(parameters))
        self._pooling = spec.pooling

    @torch.inference_mode()
    def scores(self, documents: Sequence[Ids], batch_documents: int, *, packed: bool) -> Scores:
        """Probabilities (documents, classes). Padded, the reverse direction is wrong on ragged batches."""
        device = self.head.weight.device
        order = sorted(range(len(documents)), key=lambda number: len(documents[number]), reverse=True)
        scores = np.empty((len(documents), self.head.out_features), dtype=np.float32)
        for first in range(0, len(order), batch_documents):
            batch = order[first : first + batch_documents]
            lengths = torch.tensor([len(documents[number]) for number in batch])
            ids = torch.zeros(int(lengths[0]), len(batch), dtype=torch.int64)
            for column, number in enumerate(batch):
                ids[: len(documents[number]), column] = torch.from_numpy(documents[number])
            embedded = self.embedding(ids.to(device))
            if packed:
                outputs, _ = self.rnn(nn.utils.rnn.pack_padded_sequence(embedded, lengths))
                outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs)
            else:
                outputs, _ = self.rnn(embedded)
            logits: Tensor = self.head(self._pooled(outputs, lengths.to(device)))
            scores[batch] = torch.softmax(logits, dim=1).cpu().numpy()
        return scores

    def _pooled(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        beyond = (torch.arange(len(outputs), device=outputs.device)[:, None] >= lengths).unsqueeze(2)
        pooled = []
        for kind in self._pooling:
            if kind == "mean":
                pooled.append(outputs.masked_fill_(beyond, 0.0).sum(0) / lengths[:, None])
            else:
                pooled.append(outputs.masked_fill(beyond, -torch.inf).amax(0))
        return torch.cat(pooled, dim=1)
