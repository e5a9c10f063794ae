"""More model folders as in `tiny`: for what is told of documents beside the labels of whole ones."""

from pathlib import Path

from torch import nn

from tests.tiny import CLASSIFIER_WORDS, FEATURE_NAMES, LABELS, _weights, _write, word_tokenizer


def write_tiny_tagger(path: Path, *, seed: int = 0) -> Path:
    """A classifier of each word into 3 labels: two layers of bidirectional LSTM, not pooled."""
    words, embedding, hidden = CLASSIFIER_WORDS, 8, 16
    weights = _weights(
        seed,
        embedding=nn.Embedding(len(words), embedding),
        rnn=nn.LSTM(embedding, hidden, num_layers=2, bidirectional=True),
        head=nn.Linear(2 * hidden, len(LABELS)),
    )
    config = {
        "task": "classifier",
        "description": "Labels words, badly.",
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
            "layers": 2,
            "bidirectional": True,
        },
        "head": {"kind": "softmax", "size": len(LABELS)},
        "labels": list(LABELS),
    }
    _write(path, config, weights, tokenizer=word_tokenizer(words))
    return path


def write_tiny_sensors(path: Path, *, seed: int = 0) -> Path:
    """A classifier of each step of 3 features with several labels at once: a GRU in one direction, so online, too."""
    size, hidden = len(FEATURE_NAMES), 16
    weights = _weights(seed, rnn=nn.GRU(size, hidden), head=nn.Linear(hidden, len(LABELS)))
    config = {
        "task": "classifier",
        "description": "Sees several things at once, badly.",
        "input": {"kind": "features", "size": size, "names": list(FEATURE_NAMES)},
        "recurrent": {"cell": "gru", "input_size": size, "hidden_size": hidden},
        "head": {"kind": "sigmoid", "size": len(LABELS)},
        "labels": list(LABELS),
    }
    _write(path, config, weights, tokenizer=None)
    return path


def write_tiny_summary(path: Path, *, seed: int = 0) -> Path:
    """An encoder of whole sequences of 3 features: a bidirectional GRU, mean and last pooled."""
    size, hidden = len(FEATURE_NAMES), 16
    weights = _weights(seed, rnn=nn.GRU(size, hidden, bidirectional=True))
    config = {
        "task": "encoder",
        "description": "Sums up, badly.",
        "input": {"kind": "features", "size": size},
        "recurrent": {"cell": "gru", "input_size": size, "hidden_size": hidden, "bidirectional": True},
        "pooling": ["mean", "last"],
    }
    _write(path, config, weights, tokenizer=None)
    return path
