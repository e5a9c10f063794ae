"""The reference shapes as model folders with seeded random weights: speed does not depend on what was learned.

R1: V = 10,000, embedding 256, LSTM 2 x 512, full softmax. R2, the keyboard of Hard et al. 2018 (arXiv 1811.03604):
V = 10,000, embedding 96 tied, LSTM 670 with projection 96. R3, documents: V = 10,000, embedding 128, BiLSTM 1 x 256,
mean pooling, 4 classes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from gatehouse_server.network.spec import NetworkSpec, TokenInputSpec, parameter_shapes
from safetensors.torch import save_file
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

from benchmarks.network import SHAPES


def write_shape(directory: Path, name: str) -> Path:
    """Writes the folder `<directory>/<name in lower case>/1` and returns it."""
    spec = SHAPES[name]
    assert isinstance(spec.input, TokenInputSpec)
    folder = directory / name.lower() / "1"
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    weights = {
        key: torch.randn(shape, generator=generator) * 0.05 for key, shape in parameter_shapes(spec).items()
    }
    save_file(weights, folder / "model.safetensors")
    words = {"<unk>": 0} | {f"w{number}": number for number in range(1, spec.input.vocabulary_size)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(_config(name.lower(), spec), indent=1), encoding="utf-8")
    return folder


def _config(name: str, spec: NetworkSpec) -> dict[str, Any]:
    lowest, head = spec.recurrent.layers[0], spec.head
    assert isinstance(spec.input, TokenInputSpec)
    assert head is not None
    documents = bool(spec.pooling)
    config: dict[str, Any] = {
        "format": 1,
        "name": name,
        "version": "1",
        "task": "classifier" if documents else "language_model",
        "description": f"Benchmark shape {name.upper()} with random weights.",
        "input": {
            "kind": "tokens",
            "vocabulary_size": spec.input.vocabulary_size,
            "embedding_size": spec.input.embedding_size,
            "unknown_token": "<unk>",
        },
        "recurrent": {
            "cell": lowest.cell,
            "input_size": lowest.input_size,
            "hidden_size": lowest.hidden_size,
            "layers": len(spec.recurrent.layers),
            "projection_size": lowest.projection_size,
            "direction": lowest.direction,
        },
        "head": {"kind": head.kind, "size": head.size, "tied": head.tied, "bias": True},
    }
    if documents:
        config["pooling"] = list(spec.pooling)
        config["labels"] = [f"label {number}" for number in range(head.size)]
    return config
