"""The online step as a careful person writes it by hand for one LSTM model: what an engine has to measure up to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from gatehouse_server.network.spec import NetworkSpec
from torch import Tensor

TILE_ROWS = 128
BLOCK = 100


class HandFused:
    """One step for a fixed number of sequences: folded input table, one product a layer, all in place.

    Tiles of 128 rows stay in the cache. The best k are found in two stages: the k blocks with the largest maxima
    hold them. Nothing is scheduled, checked or answered to anybody, and ties are left as they fall.
    """

    def __init__(self, spec: NetworkSpec, parameters: Mapping[str, Tensor], batch: int, k: int) -> None:
        layers, self._k = spec.recurrent.layers, k
        numbers, lowest = range(len(layers)), layers[0]
        width, rows = spec.recurrent.output_size, min(batch, TILE_ROWS)
        part = {name.removeprefix("rnn."): tensor for name, tensor in parameters.items()}
        biases = [part[f"bias_ih_l{n}"] + part[f"bias_hh_l{n}"] for n in numbers]
        self._table = torch.addmm(biases[0], part["embedding.weight"], part["weight_ih_l0"].T)
        self._weights = [part["weight_hh_l0"].T.contiguous()]
        for n in numbers[1:]:
            both = torch.cat([part[f"weight_ih_l{n}"], part[f"weight_hh_l{n}"]], dim=1)
            self._weights.append(both.T.contiguous())
        self._biases = biases
        self._projections = [
            part[f"weight_hr_l{n}"].T.contiguous() if lowest.projection_size else None for n in numbers
        ]
        head = part["embedding.weight" if spec.head is not None and spec.head.tied else "head.weight"]
        self._head, self._head_bias = head.T.contiguous(), part["head.bias"]
        self._h = [torch.zeros(batch, width) for _ in numbers]
        self._c = [torch.zeros(batch, lowest.hidden_size) for _ in numbers]
        self._gates = torch.empty(rows, 4 * lowest.hidden_size)
        self._both = torch.empty(rows, 2 * width)
        self._hidden = torch.empty(rows, lowest.hidden_size)
        self._logits = torch.empty(rows, len(head))

    def step(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids (B,) -> log-probabilities (B, k), best first, and their ids (B, k)."""
        tiles = [slice(start, start + TILE_ROWS) for start in range(0, len(ids), TILE_ROWS)]
        best = [self._tile(ids[tile], tile) for tile in tiles]
        return torch.cat([values for values, _ in best]), torch.cat([chosen for _, chosen in best])

    def _tile(self, ids: Tensor, tile: slice) -> tuple[Tensor, Tensor]:
        rows = len(ids)
        gates, hidden, logits = self._gates[:rows], self._hidden[:rows], self._logits[:rows]
        below: Tensor | None = None
        for n, weight in enumerate(self._weights):
            h, c = self._h[n][tile], self._c[n][tile]
            if below is None:
                torch.index_select(self._table, 0, ids, out=gates)
                gates.addmm_(h, weight)
            else:
                both = torch.cat([below, h], dim=1, out=self._both[:rows])
                torch.addmm(self._biases[n], both, weight, out=gates)
            i, f, g, o = gates.chunk(4, dim=1)
            c.mul_(f.sigmoid_()).addcmul_(i.sigmoid_(), g.tanh_())
            projection = self._projections[n]
            torch.mul(o.sigmoid_(), torch.tanh(c, out=hidden), out=h if projection is None else hidden)
            if projection is not None:
                torch.mm(hidden, projection, out=h)
            below = h
        assert below is not None, "a network has layers"
        torch.addmm(self._head_bias, below, self._head, out=logits)
        values, chosen = self._best(logits)
        most = values[:, :1]
        return values - (logits.sub_(most).exp_().sum(dim=1, keepdim=True).log_() + most), chosen

    def _best(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        blocks = logits.view(len(logits), -1, BLOCK)
        chosen = blocks.amax(dim=2).topk(self._k, dim=1).indices
        candidates = blocks.gather(1, chosen.unsqueeze(2).expand(-1, -1, BLOCK)).flatten(1)
        values, places = candidates.topk(self._k, dim=1)
        return values, chosen.gather(1, places // BLOCK) * BLOCK + places % BLOCK
