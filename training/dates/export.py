"""The model folder: configuration, float16 weights and both tokenizers, as the server reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tokenizers import Tokenizer

from .loop import Weights
from .network import Shape
from .tokenization import END, START, UNKNOWN


def configuration(shape: Shape, *, version: str) -> dict[str, Any]:
    """The content of config.json."""
    return {
        "format": 1,
        "name": "dates",
        "version": version,
        "task": "transducer",
        "description": "Writes a day of 1900 to 2099, however people write it in English, as YYYY-MM-DD.",
        "input": {
            "kind": "tokens",
            "vocabulary_size": shape.input_vocabulary,
            "embedding_size": shape.input_embedding,
            "unknown_token": UNKNOWN,
        },
        "recurrent": {
            "cell": "gru",
            "input_size": shape.input_embedding,
            "hidden_size": shape.encoder_hidden,
            "bidirectional": True,
            "merge": "concat",
        },
        "pooling": ["last"],
        "decoder": {
            "input": {
                "kind": "tokens",
                "vocabulary_size": shape.output_vocabulary,
                "embedding_size": shape.output_embedding,
                "start_token": START,
                "end_token": END,
            },
            "initial": {"size": shape.summary_size, "activation": "tanh"},
            "recurrent": {
                "cell": "gru",
                "input_size": shape.output_embedding,
                "hidden_size": shape.decoder_hidden,
            },
            "head": {"kind": "softmax", "size": shape.output_vocabulary},
        },
    }


def write_model(
    folder: Path, *, shape: Shape, weights: Weights, reading: Tokenizer, writing: Tokenizer, version: str
) -> None:
    """Write config.json, model.safetensors (float16), tokenizer.json and output_tokenizer.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: value.half().contiguous() for name, value in weights.items()}
    save_file(stored, folder / "model.safetensors")
    reading.save(str(folder / "tokenizer.json"), pretty=False)
    writing.save(str(folder / "output_tokenizer.json"), pretty=False)
    config = json.dumps(configuration(shape, version=version), indent=2)
    (folder / "config.json").write_text(config + "\n", encoding="utf-8")


def half_precision(weights: Weights) -> Weights:
    """The weights as they are after having been stored."""
    return {name: value.half().float() for name, value in weights.items()}


def folder_bytes(folder: Path) -> int:
    """The size of all files in `folder`."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
