"""The model folder: configuration, float16 weights and tokenizer, as the server reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tokenizers import Tokenizer

from .loop import Weights
from .network import POOLING, Shape
from .words import UNKNOWN

EXPORTED = ("embedding.", "rnn.", "head.")
"""The category head stays behind: it exists for training only."""


def configuration(shape: Shape, labels: Sequence[str], *, version: str) -> dict[str, Any]:
    """The content of config.json."""
    return {
        "format": 1,
        "name": "topics",
        "version": version,
        "task": "classifier",
        "description": f"Sorts English abstracts of scientific papers into {len(labels)} fields.",
        "input": {
            "kind": "tokens",
            "vocabulary_size": shape.vocabulary_size,
            "embedding_size": shape.embedding_size,
            "unknown_token": UNKNOWN,
        },
        "recurrent": {
            "cell": "lstm",
            "input_size": shape.embedding_size,
            "hidden_size": shape.hidden_size,
            "layers": 1,
            "bias": True,
            "bidirectional": True,
            "merge": "concat",
        },
        "pooling": list(POOLING),
        "head": {"kind": "softmax", "size": len(labels), "bias": True},
        "labels": list(labels),
    }


def write_model(
    folder: Path, *, shape: Shape, labels: Sequence[str], weights: Weights, tokenizer: Tokenizer, version: str
) -> None:
    """Write config.json, model.safetensors (float16) and tokenizer.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: value.half().contiguous() for name, value in weights.items() if name.startswith(EXPORTED)}
    save_file(stored, folder / "model.safetensors")
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = json.dumps(configuration(shape, labels, version=version), indent=2)
    (folder / "config.json").write_text(config + "\n", encoding="utf-8")


def folder_bytes(folder: Path) -> int:
    """The size of all files in `folder`."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
