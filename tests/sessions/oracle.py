"""What a model answers when it is run from the initial state over a whole tape: plain torch, nothing of the server."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn


class KeyboardOracle:
    """The tiny keyboard as `nn.LSTM`."""

    def __init__(self, folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        sizes = config["recurrent"]
        self._embedding = weights["embedding.weight"].float()
        self._bias = weights["head.bias"].float()
        self._rnn = nn.LSTM(sizes["input_size"], sizes["hidden_size"], proj_size=sizes["projection_size"])
        self._rnn.load_state_dict(
            {name.removeprefix("rnn."): tensor for name, tensor in weights.items() if name.startswith("rnn.")}
        )
        vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        self.start = int(vocabulary[config["input"]["start_token"]])
        self.vocabulary: dict[str, int] = vocabulary

    def log_probabilities(self, tape: list[int]) -> torch.Tensor:
        """(T + 1, V): row p is the prediction at position p of the tape."""
        with torch.no_grad(), warnings.catch_warnings():
            # torch says once that projections are not in oneDNN; which kernel it takes is all the same here.
            warnings.simplefilter("ignore", UserWarning)
            inputs = self._embedding[torch.tensor([self.start, *tape])]
            hidden, _ = self._rnn(inputs.unsqueeze(1))
            return torch.log_softmax(hidden.squeeze(1) @ self._embedding.T + self._bias, dim=1)
