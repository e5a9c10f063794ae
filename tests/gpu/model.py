"""A model of random weights on a device, and sessions that run on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from gatehouse_server.engine.online_backend import HeadAnswer, HeadRequest, OnlineBatch
from gatehouse_server.engine.programs import Programs, TickArithmetic
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
    parameter_shapes,
)
from torch import Tensor, nn

V = 10_000
K = 5
SUPPRESSED = (3, 77, 9999)
NONE = np.empty(0, dtype=np.int64)
_MODULES = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn_tanh": nn.RNN}


def spec_of(
    cell: str, *, layers: int = 1, hidden: int = 256, projection: int = 0, features: int = 0
) -> NetworkSpec:
    """A softmax over 10,000 outputs."""
    width = features or 96
    return NetworkSpec(
        input=FeatureInputSpec(size=features)
        if features
        else TokenInputSpec(vocabulary_size=V, embedding_size=width),
        recurrent=RecurrentSpec.uniform(
            cell=cell, input_size=width, hidden_size=hidden, layers=layers, projection_size=projection
        ),
        head=HeadSpec(kind="softmax", size=V),
    )


def weights_of(spec: NetworkSpec, seed: int = 3) -> dict[str, Tensor]:
    """Seeded, of a size that keeps states away from their bounds."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) / max(4.0, shape[-1] ** 0.5)
        for name, shape in parameter_shapes(spec).items()
    }


def plain_outputs(
    spec: NetworkSpec, weights: dict[str, Tensor], inputs: Tensor, device: torch.device
) -> Tensor:
    """inputs (T, B) or (T, B, N) -> log-probabilities (T, B, V) by torch's own modules, on the device."""
    lowest = spec.recurrent.layers[0]
    options = {"proj_size": lowest.projection_size} if lowest.cell == "lstm" else {}
    rnn = _MODULES[lowest.cell](
        lowest.input_size, lowest.hidden_size, len(spec.recurrent.layers), **options
    ).to(device)
    rnn.load_state_dict({k.removeprefix("rnn."): v for k, v in weights.items() if k.startswith("rnn.")})
    on_device = {name: tensor.to(device) for name, tensor in weights.items()}
    vectors = inputs.to(device)
    if isinstance(spec.input, TokenInputSpec):
        vectors = on_device["embedding.weight"][vectors]
    with torch.no_grad():
        hidden, _ = rnn(vectors)
        logits: Tensor = hidden @ on_device["head.weight"].T + on_device["head.bias"]
        return logits.log_softmax(dim=-1).cpu()


class Sessions:
    """So many sessions on a backend, whose states move between two rows of the table each."""

    def __init__(
        self,
        spec: NetworkSpec,
        weights: dict[str, Tensor],
        device: torch.device,
        *,
        count: int,
        arithmetic: Arithmetic = FLOAT32,
        most_rows: int | None = None,
        programs_of: Callable[[TickArithmetic], Programs] | None = None,
    ) -> None:
        self.network = Network.build(spec, weights, device, arithmetic=arithmetic)
        self.backend = TorchOnlineBackend(
            self.network,
            capacity=2 * count,
            suppressed=SUPPRESSED,
            most_rows=most_rows or count,
            programs_of=programs_of,
        )
        self._rows = np.arange(1, count + 1), np.arange(count + 1, 2 * count + 1)

    def begin_anew(self) -> None:
        """All sessions from the zero state."""
        every = np.concatenate(self._rows)
        self.backend.write_states(every, np.zeros((len(every), self.backend.bytes_per_row // 4), np.float32))

    def write(self, who: np.ndarray, steps: np.ndarray, *, suppressed: bool = False) -> HeadAnswer:
        """steps (T, B) or (T, B, N) of these sessions in one tick, read at the end: best, all outputs, a score."""
        count, length = len(who), len(steps)
        sources, targets = self._rows
        batch = OnlineBatch(
            inputs=np.ascontiguousarray(steps.reshape(length * count, *steps.shape[2:])),
            batch_sizes=(count,) * length,
            source_rows=sources[who],
            target_rows=targets[who],
            peeked_rows=NONE,
            head=HeadRequest(
                rows=np.arange(length * count, (length + 1) * count),
                ks=np.full(count, K),
                suppressed=np.full(count, True) if suppressed else None,
                score_rows=np.arange(count),
                score_tokens=np.full(count, 7),
                vector_rows=np.arange(count),
                restricted=(),
            ),
        )
        answer = self.backend.run(batch)
        assert answer.finite.all()
        assert answer.head is not None
        sources[who], targets[who] = targets[who].copy(), sources[who].copy()
        return answer.head

    def states(self, who: np.ndarray) -> np.ndarray:
        """Their states, (B, S)."""
        return self.backend.read_states(self._rows[0][who])
