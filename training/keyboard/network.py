"""The keyboard's network: embedding, one LSTM layer with projection, output tied to the embedding."""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.keyboard.kernels import projected_lstm, tied_cross_entropy


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """V, E = P and H of the network."""

    vocabulary_size: int
    embedding_size: int
    hidden_size: int


class KeyboardNetwork(nn.Module):
    """Parameters under the names they are stored by; `head` holds the output bias alone."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary_size, shape.embedding_size)
        self.rnn = nn.LSTM(shape.embedding_size, shape.hidden_size, proj_size=shape.embedding_size)
        self.head = nn.ParameterDict({"bias": nn.Parameter(torch.zeros(shape.vocabulary_size))})
        nn.init.normal_(self.embedding.weight, std=0.1)
        weights = dict(self.rnn.named_parameters())
        nn.init.normal_(weights["weight_ih_l0"], std=0.1)  # inputs are small: keep the gates awake
        nn.init.zeros_(weights["bias_ih_l0"])
        nn.init.zeros_(weights["bias_hh_l0"])
        weights["bias_hh_l0"].requires_grad_(False)  # only the sum of the two matters
        with torch.no_grad():
            weights["bias_ih_l0"][shape.hidden_size : 2 * shape.hidden_size] = 1.0  # remember at first

    def states(self, ids: Tensor) -> Tensor:
        """Outputs (T, B, P) for input ids (T, B) from the zero state, by torch's own LSTM in float32."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
            outputs: Tensor = self.rnn(self.embedding(ids))[0]
        return outputs

    def log_probabilities(self, states: Tensor) -> Tensor:
        """Log-probabilities (M, V) in nats for states (M, P)."""
        logits = states @ self.embedding.weight.t() + self.head["bias"]
        return torch.log_softmax(logits, dim=1)

    def training_loss(
        self,
        ids: Tensor,
        places: Tensor,
        targets: Tensor,
        *,
        input_dropout: float,
        output_dropout: float,
        dtype: torch.dtype,
    ) -> Tensor:
        """Mean cross-entropy in nats over the M real targets.

        `ids` (T, B) padded inputs, `places` (M,) the flat (T * B) positions that count, `targets` (M,).
        """
        inputs = nn.functional.dropout(self.embedding(ids), input_dropout)
        weights = dict(self.rnn.named_parameters())
        outputs = projected_lstm(
            inputs,
            weights["weight_ih_l0"],
            weights["weight_hh_l0"],
            weights["bias_ih_l0"],
            weights["weight_hr_l0"],
            dtype,
        )
        states = outputs.flatten(0, 1).index_select(0, places)
        states = nn.functional.dropout(states, output_dropout)
        total = tied_cross_entropy(states, self.embedding.weight, self.head["bias"], targets, dtype)
        return total / len(targets)
