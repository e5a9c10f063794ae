"""Small models for the chaos run and the soak, and what they answer: plain `nn.LSTM` and `nn.GRU` over the whole tape.

Shares nothing with the server: it writes the folders from seeded weights and reads them back by itself.
V vocabulary, N replies, T steps of the longest tape, H hidden.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from torch import nn

VOCABULARY = 48
MODELS = ("chaoslstm", "chaosgru")
"""One of LSTM with a projection and a tied head, one of two layers of GRU with a head of its own."""

_EMBEDDING, _HIDDEN = 16, 32
# Wide enough that another token six steps back changes an output by 0.01 at least, and narrow enough that the network
# forgets: with 0.4 it is chaotic on some tapes, and after fifty steps rounding alone shows in the fourth digit.
_SCALE = 0.3


def write_models(directory: Path) -> None:
    """Writes the folder `<directory>/<name>/1` of each of `MODELS`."""
    projected = {"cell": "lstm", "layers": 1, "projection_size": _EMBEDDING}
    write_model(directory / "chaoslstm" / "1", recurrent=projected, tied=True, seed=1)
    write_model(directory / "chaosgru" / "1", recurrent={"cell": "gru", "layers": 2}, tied=False, seed=2)


class PlainModel:
    """A model of a folder in plain torch."""

    def __init__(self, folder: Path) -> None:
        recurrent = json.loads((folder / "config.json").read_text(encoding="utf-8"))["recurrent"]
        weights = load_file(folder / "model.safetensors")
        self._embedding, self._bias = weights["embedding.weight"], weights["head.bias"]
        self._head = weights.get("head.weight", self._embedding)
        self._rnn = _network(recurrent)
        self._rnn.load_state_dict(
            {name.removeprefix("rnn."): value for name, value in weights.items() if name.startswith("rnn.")}
        )

    def log_probabilities(
        self, tapes: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """(N, V): the prediction after the first `lengths` (N,) steps of each of `tapes` (N, T), from zero states."""
        # Later steps do not reach back to earlier outputs, so what pads a tape does not matter.
        hidden = self._hidden(tapes)
        return self._predicted(hidden[torch.arange(len(tapes)), torch.from_numpy(lengths)])

    def every_prediction(self, tapes: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """(N, T + 1, V): the prediction before the first step of each of `tapes` (N, T), and after each step."""
        return self._predicted(self._hidden(tapes))

    @torch.no_grad()
    def _hidden(self, tapes: npt.NDArray[np.int64]) -> torch.Tensor:
        """(N, T + 1, H or P)"""
        with warnings.catch_warnings():
            # torch says once that projections are not in oneDNN; which kernel it takes is all the same here.
            warnings.simplefilter("ignore", UserWarning)
            hidden, _ = self._rnn(self._embedding[torch.from_numpy(tapes)])
        return torch.cat([torch.zeros_like(hidden[:, :1]), hidden], dim=1)

    @torch.no_grad()
    def _predicted(self, hidden: torch.Tensor) -> npt.NDArray[np.float32]:
        predicted: npt.NDArray[np.float32] = torch.log_softmax(
            hidden @ self._head.T + self._bias, dim=-1
        ).numpy()
        return predicted


def _network(recurrent: dict[str, Any]) -> nn.RNNBase:
    sizes = {"input_size": recurrent["input_size"], "hidden_size": recurrent["hidden_size"]}
    if recurrent["cell"] == "lstm":
        return nn.LSTM(**sizes, proj_size=recurrent["projection_size"], batch_first=True)
    return nn.GRU(**sizes, num_layers=recurrent["layers"], batch_first=True)


def write_model(folder: Path, *, recurrent: dict[str, Any], tied: bool, seed: int) -> None:
    """Writes one folder, `<directory>/<name>/<version>`, with random weights."""
    folder.mkdir(parents=True)
    recurrent = {"input_size": _EMBEDDING, "hidden_size": _HIDDEN, **recurrent}
    size = recurrent.get("projection_size", _HIDDEN)
    modules = nn.ModuleDict(
        {
            "embedding": nn.Embedding(VOCABULARY, _EMBEDDING),
            "rnn": _network(recurrent),
            "head": nn.Linear(size, VOCABULARY),
        }
    )
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: _SCALE * torch.randn(value.shape, generator=generator)
        for name, value in modules.state_dict().items()
        if not (tied and name == "head.weight")
    }
    save_file(weights, folder / "model.safetensors")
    words = {"<unk>": 0} | {f"w{number}": number for number in range(1, VOCABULARY)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "format": 1,
        "name": folder.parent.name,
        "version": folder.name,
        "task": "language_model",
        "description": "Small, with random weights.",
        "input": {
            "kind": "tokens",
            "vocabulary_size": VOCABULARY,
            "embedding_size": _EMBEDDING,
            "unknown_token": "<unk>",
        },
        "recurrent": recurrent,
        "head": {"kind": "softmax", "size": VOCABULARY, "tied": tied, "bias": True},
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
