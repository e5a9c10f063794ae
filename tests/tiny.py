"""Model folders of a few kilobytes, made in a moment: untrained but seeded, with real tokenizers.

Each maker takes the folder to write, `<anything>/<name>/<version>`; name and version are taken from the path.
Imports nothing of the server, so that a test of any layer may use it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor, nn

KEYBOARD_WORDS = (  # noqa: SIM905 - a string of words is easier to read and to extend than a list
    "<unk> </s> . , ? ! ' \" ( ) - 3 5 a am and are at be boston can can't cat could damn did do does dog "
    "doing don't done go going good he hello home how i i'm in is it let's like me my not of on she so that "
    "the there they thing this to want was we what you your"
).split()
CLASSIFIER_WORDS = (  # noqa: SIM905 - same
    "<unk> the a of and star galaxy planet proof lemma group cell gene protein we study"
).split()
MELODY_NOTES = ["<unk>", *(f"{name}{octave}" for octave in (3, 4, 5) for name in "cdefgab"), "rest", "bar"]
WRITTEN = ["<s>", "</s>", "<unk>", *"abcdefgh-"]
LABELS = ("astro", "math", "bio")
FEATURE_NAMES = ("x", "y", "z")

_PIECE = r"[\p{L}\p{N}\p{M}]+(?:'[\p{L}\p{N}\p{M}]+)*|[^\s\p{L}\p{N}\p{M}]"


def write_tiny_keyboard(
    path: Path, *, sentence_end: str = "start_over", seed: int = 0, scale: float = 0.5
) -> Path:
    """A language model of 66 words: a projected LSTM with a tied head, display forms and a blocked word.

    Weights of the usual `scale` make it chaotic: after some fifty steps rounding alone shows in its outputs. With 0.4
    it forgets instead, and tapes of any length can be compared.
    """
    words, embedding, hidden = KEYBOARD_WORDS, 16, 32
    weights = _weights(
        seed,
        scale=scale,
        embedding=nn.Embedding(len(words), embedding),
        rnn=nn.LSTM(embedding, hidden, proj_size=embedding),
        head=nn.Linear(embedding, len(words)),
    )
    del weights["head.weight"]
    config = {
        "task": "language_model",
        "description": "Suggests a next word, badly.",
        "input": {
            "kind": "tokens",
            "vocabulary_size": len(words),
            "embedding_size": embedding,
            "unknown_token": "<unk>",
            "start_token": "</s>",
            "end_token": "</s>",
        },
        "recurrent": {
            "cell": "lstm",
            "input_size": embedding,
            "hidden_size": hidden,
            "layers": 1,
            "projection_size": embedding,
            "bias": True,
        },
        "head": {"kind": "softmax", "size": len(words), "tied": True, "bias": True},
        "text": {"sentence_end": sentence_end},
    }
    _write(path, config, weights, tokenizer=word_tokenizer(words))
    display = {"i": "I", "i'm": "I'm", "boston": "Boston", "paris": "Paris"}
    (path / "display.json").write_text(json.dumps(display), encoding="utf-8")
    (path / "blocked.txt").write_text("damn\n", encoding="utf-8")
    return path


def write_tiny_melody(path: Path, *, seed: int = 0) -> Path:
    """A language model of 24 notes: two layers of GRU with a head of its own and no start token."""
    notes, embedding, hidden = MELODY_NOTES, 8, 16
    weights = _weights(
        seed,
        embedding=nn.Embedding(len(notes), embedding),
        rnn=nn.GRU(embedding, hidden, num_layers=2),
        head=nn.Linear(hidden, len(notes)),
    )
    config = {
        "task": "language_model",
        "description": "Plays on, badly.",
        "input": {
            "kind": "tokens",
            "vocabulary_size": len(notes),
            "embedding_size": embedding,
            "unknown_token": "<unk>",
        },
        "recurrent": {"cell": "gru", "input_size": embedding, "hidden_size": hidden, "layers": 2},
        "head": {"kind": "softmax", "size": len(notes), "bias": True},
    }
    _write(path, config, weights, tokenizer=word_tokenizer(notes))
    return path


def write_tiny_classifier(path: Path, *, seed: int = 0) -> Path:
    """A classifier of whole documents into 3 labels: a bidirectional LSTM, mean and max pooled."""
    words, embedding, hidden = CLASSIFIER_WORDS, 8, 16
    weights = _weights(
        seed,
        embedding=nn.Embedding(len(words), embedding),
        rnn=nn.LSTM(embedding, hidden, bidirectional=True),
        head=nn.Linear(4 * hidden, len(LABELS)),
    )
    config = {
        "task": "classifier",
        "description": "Sorts abstracts, badly.",
        "input": {
            "kind": "tokens",
            "vocabulary_size": len(words),
            "embedding_size": embedding,
            "unknown_token": "<unk>",
        },
        "recurrent": {
            "cell": "lstm",
            "input_size": embedding,
            "hidden_size": hidden,
            "layers": 1,
            "bidirectional": True,
            "merge": "concat",
        },
        "pooling": ["mean", "max"],
        "head": {"kind": "softmax", "size": len(LABELS), "bias": True},
        "labels": list(LABELS),
    }
    _write(path, config, weights, tokenizer=word_tokenizer(words))
    return path


def write_tiny_features(path: Path, *, outputs: int = 2, seed: int = 0) -> Path:
    """A regressor that answers some values at each step of 3 features: two layers of GRU, online."""
    size, hidden = len(FEATURE_NAMES), 16
    weights = _weights(seed, rnn=nn.GRU(size, hidden, num_layers=2), head=nn.Linear(hidden, outputs))
    config = {
        "task": "regressor",
        "description": "Follows a motion, badly.",
        "input": {"kind": "features", "size": size, "names": list(FEATURE_NAMES)},
        "recurrent": {"cell": "gru", "input_size": size, "hidden_size": hidden, "layers": 2},
        "head": {"kind": "linear", "size": outputs},
    }
    _write(path, config, weights, tokenizer=None)
    return path


def write_tiny_encoder(path: Path, *, seed: int = 0) -> Path:
    """An encoder of notes, a vector at each step: a layer of LSTM with peepholes under one with coupled gates, without
    an output layer.
    """
    notes, embedding, hidden = MELODY_NOTES, 8, 12
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "embedding.weight": (len(notes), embedding),
        "rnn.weight_ih_l0": (4 * hidden, embedding),
        "rnn.weight_hh_l0": (4 * hidden, hidden),
        "rnn.bias_ih_l0": (4 * hidden,),
        "rnn.bias_hh_l0": (4 * hidden,),
        "rnn.peephole_l0": (3 * hidden,),
        "rnn.weight_ih_l1": (3 * hidden, hidden),
        "rnn.weight_hh_l1": (3 * hidden, hidden),
        "rnn.bias_ih_l1": (3 * hidden,),
        "rnn.bias_hh_l1": (3 * hidden,),
    }
    weights = {name: 0.5 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    config = {
        "task": "encoder",
        "description": "Turns notes into vectors, badly.",
        "input": {
            "kind": "tokens",
            "vocabulary_size": len(notes),
            "embedding_size": embedding,
            "unknown_token": "<unk>",
        },
        "recurrent": {
            "cell": "lstm",
            "input_size": embedding,
            "hidden_size": hidden,
            "layers": [{"peepholes": True}, {"coupled": True}],
        },
    }
    _write(path, config, weights, tokenizer=word_tokenizer(notes))
    return path


def write_tiny_transducer(path: Path, *, seed: int = 0) -> Path:
    """Words in, letters out: a bidirectional GRU reads, another one writes, and the ends of the one begin the other."""
    words, embedding, read, written = CLASSIFIER_WORDS, 8, 16, 24
    encoder = nn.ModuleDict(
        {"embedding": nn.Embedding(len(words), embedding), "rnn": nn.GRU(embedding, read, bidirectional=True)}
    )
    decoder = nn.ModuleDict(
        {
            "embedding": nn.Embedding(len(WRITTEN), embedding),
            "initial": nn.Linear(2 * read, written),
            "rnn": nn.GRU(embedding, written),
            "head": nn.Linear(written, len(WRITTEN)),
        }
    )
    config = {
        "task": "transducer",
        "description": "Abbreviates, badly.",
        "input": {
            "kind": "tokens",
            "vocabulary_size": len(words),
            "embedding_size": embedding,
            "unknown_token": "<unk>",
        },
        "recurrent": {
            "cell": "gru",
            "input_size": embedding,
            "hidden_size": read,
            "bidirectional": True,
        },
        "pooling": "last",
        "decoder": {
            "input": {
                "kind": "tokens",
                "vocabulary_size": len(WRITTEN),
                "embedding_size": embedding,
                "start_token": "<s>",
                "end_token": "</s>",
            },
            "initial": {"size": 2 * read},
            "recurrent": {"cell": "gru", "input_size": embedding, "hidden_size": written},
            "head": {"kind": "softmax", "size": len(WRITTEN)},
        },
    }
    weights = _weights(seed, encoder=encoder, decoder=decoder)
    _write(path, config, weights, tokenizer=word_tokenizer(words))
    letters = Tokenizer(WordLevel({token: number for number, token in enumerate(WRITTEN)}, unk_token="<unk>"))
    letters.decoder = decoders.Fuse()
    letters.save(str(path / "output_tokenizer.json"))
    return path


def word_tokenizer(words: list[str]) -> Tokenizer:
    """A lower-casing word-level tokenizer that keeps inner apostrophes and makes every other mark a token."""
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace("’", "'"), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECE), behavior="removed", invert=True)
    return tokenizer


def panicking_tokenizer(words: list[str]) -> Tokenizer:
    """One of `words`, but for the last. The library panics with it at any letter beyond ASCII: of the token that it has
    instead, its normalizer leaves nothing.
    """
    tokenizer = word_tokenizer(words[:-1])
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.add_tokens(["\u200c"])
    return tokenizer


def _weights(seed: int, scale: float = 0.5, **modules: nn.Module) -> dict[str, Tensor]:
    """The state of the modules, redrawn from `seed`; the usual `scale` is wide enough that different inputs give
    clearly different outputs.
    """
    generator = torch.Generator().manual_seed(seed)
    state = nn.ModuleDict(modules).state_dict()
    return {name: scale * torch.randn(value.shape, generator=generator) for name, value in state.items()}


def _write(
    path: Path, config: Mapping[str, Any], weights: dict[str, Tensor], *, tokenizer: Tokenizer | None
) -> None:
    path.mkdir(parents=True, exist_ok=True)
    whole = {"format": 1, "name": path.parent.name, "version": path.name, **config}
    (path / "config.json").write_text(json.dumps(whole, indent=2), encoding="utf-8")
    save_file(weights, path / "model.safetensors")
    (path / "card.md").write_text(f"# {path.parent.name}\n\nUntrained, for tests.\n", encoding="utf-8")
    if tokenizer is not None:
        tokenizer.save(str(path / "tokenizer.json"))
