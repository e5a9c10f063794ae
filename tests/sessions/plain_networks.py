"""What a model answers when it is run from the initial state over a whole tape: `nn.LSTM` and `nn.GRU`, and nothing
of the server.

Reads a model folder's config and weights itself, so that a mistake in the server's reading shows too.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

Step = int | tuple[float, ...]
"""A token, or the values of a feature vector."""

Tape = tuple[Step, ...]


class PlainNetwork:
    """An online model of a folder in plain torch: one `nn.LSTM` or `nn.GRU` between embedding and output layer.

    `vocabulary` has the ids of a token model's words and `words` the reverse; both are empty for a model of features.
    `width` is V for tokens, N for features. `first_state` is what the module takes as its state before all steps, zeros
    unless it is set before anything is asked.
    """

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}
        self.predicts_tokens = config["task"] == "language_model"
        self.takes_tokens = config["input"]["kind"] == "tokens"
        self.vocabulary: dict[str, int] = {}
        self.first_state: Any = None
        self._before: Tape = ()
        self._embedding = weights.get("embedding.weight")
        if self.takes_tokens:
            tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
            self.vocabulary = tokenizer["model"]["vocab"]
            start = config["input"].get("start_token")
            self._before = () if start is None else (self.vocabulary[start],)
        self.words = {number: word for word, number in self.vocabulary.items()}
        self.width = len(self.vocabulary) or int(config["input"]["size"])
        head = self._embedding if config["head"].get("tied") else weights["head.weight"]
        assert head is not None
        self._head, self._bias = head, weights["head.bias"]
        self._rnn = _recurrent(config["recurrent"], weights)

    @lru_cache(maxsize=64)  # noqa: B019 - a test's few networks live as long as the test
    def outputs(self, tape: Tape) -> Tensor:
        """(T + 1, O): row p is the output at position p, log-probabilities of a language model, else values."""
        with torch.no_grad(), warnings.catch_warnings():
            # torch says once that projections are not in oneDNN; which kernel it takes is all the same here.
            warnings.simplefilter("ignore", UserWarning)
            hidden = torch.zeros(1, self._head.shape[1])
            steps = self._before + tape
            if steps:
                hidden_after, _ = self._rnn(self._inputs(steps).unsqueeze(1), self.first_state)
                hidden = torch.cat([hidden, hidden_after.squeeze(1)])
            values = hidden[len(self._before) :] @ self._head.T + self._bias
            return torch.log_softmax(values, dim=1) if self.predicts_tokens else values

    def log_probabilities(self, tape: Sequence[int]) -> Tensor:
        """(T + 1, V): row p is the prediction at position p of the tape."""
        assert self.predicts_tokens
        return self.outputs(tuple(tape))

    def _inputs(self, steps: Tape) -> Tensor:
        if self._embedding is None:
            return torch.tensor(steps, dtype=torch.float32)
        return self._embedding[torch.tensor(steps)]


def _recurrent(config: dict[str, Any], weights: dict[str, Tensor]) -> nn.RNNBase:
    sizes = {"input_size": config["input_size"], "hidden_size": config["hidden_size"]}
    network: nn.RNNBase
    if config["cell"] == "lstm":
        network = nn.LSTM(**sizes, num_layers=config["layers"], proj_size=config.get("projection_size") or 0)
    else:
        network = nn.GRU(**sizes, num_layers=config["layers"])
    network.load_state_dict(
        {name.removeprefix("rnn."): value for name, value in weights.items() if name.startswith("rnn.")}
    )
    return network
