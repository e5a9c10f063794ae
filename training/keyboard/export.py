"""Writes the keyboard's model folder, and reads its weights back for measuring."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from tokenizers import Tokenizer

from training.keyboard.corpus import Text
from training.keyboard.display_forms import display_forms, inner_forms
from training.keyboard.network import KeyboardNetwork, Shape
from training.keyboard.tokenization import SENTENCE_END, UNKNOWN

# Words a keyboard should not bring up by itself; one may still type them.
_BLOCKED = frozenset(Path(__file__).with_name("blocked_words.txt").read_text(encoding="utf-8").split())


def configuration(shape: Shape) -> dict[str, object]:
    """The content of config.json."""
    return {
        "format": 1,
        "name": "keyboard",
        "version": "1",
        "task": "language_model",
        "description": "Next-word suggestions for English typing: a word-level LSTM with projection.",
        "input": {
            "kind": "tokens",
            "vocabulary_size": shape.vocabulary_size,
            "embedding_size": shape.embedding_size,
            "unknown_token": UNKNOWN,
            "start_token": SENTENCE_END,
            "end_token": SENTENCE_END,
        },
        "recurrent": {
            "cell": "lstm",
            "input_size": shape.embedding_size,
            "hidden_size": shape.hidden_size,
            "layers": 1,
            "projection_size": shape.embedding_size,
            "bias": True,
            "bidirectional": False,
        },
        "head": {"kind": "softmax", "size": shape.vocabulary_size, "tied": True, "bias": True},
        "text": {"sentence_end": "start_over"},
    }


def export(folder: Path, network: KeyboardNetwork, tokenizer: Tokenizer, text: Text) -> None:
    """Write config.json, model.safetensors (float16), tokenizer.json, display.json and blocked.txt.

    The words' casing is read from the prepared training sentences of `text`. Raises `ValueError` when a
    weight has no finite float16 value.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().half().contiguous() for name, tensor in network.state_dict().items()}
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds a value that float16 cannot")
    # Written as bytes: the library's own file would be readable by its owner alone.
    (folder / "model.safetensors").write_bytes(save(weights))
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = tokenizer.get_vocab()
    _write_json(folder / "config.json", configuration(network.shape), indent=2)
    forms = display_forms([inner_forms(text.tatoeba), inner_forms(text.common_voice)], vocabulary)
    _write_json(folder / "display.json", forms, indent=0)
    blocked = sorted(_BLOCKED & vocabulary.keys())
    (folder / "blocked.txt").write_text("".join(f"{word}\n" for word in blocked), encoding="utf-8")


def load_exported(folder: Path, shape: Shape) -> KeyboardNetwork:
    """The network of a written folder: its float16 weights, computed in float32."""
    network = KeyboardNetwork(shape)
    stored = load_file(folder / "model.safetensors")
    network.load_state_dict({name: tensor.float() for name, tensor in stored.items()})
    return network.eval()


def _write_json(path: Path, content: object, indent: int) -> None:
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")
