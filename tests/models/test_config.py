"""config.json: what is accepted, and how each mistake is told."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from gatehouse_server.models.config import ConfigError, parse_config
from gatehouse_server.network.spec import FeatureInputSpec, TokenInputSpec

KEYBOARD: dict[str, Any] = {
    "format": 1,
    "name": "keyboard",
    "version": "1",
    "task": "language_model",
    "description": "Suggests.",
    "input": {"kind": "tokens", "vocabulary_size": 60, "embedding_size": 16},
    "recurrent": {
        "cell": "lstm",
        "input_size": 16,
        "hidden_size": 32,
        "layers": 1,
        "projection_size": 16,
        "bias": True,
    },
    "head": {"kind": "softmax", "size": 60, "tied": True},
}
TOPICS: dict[str, Any] = {
    "format": 1,
    "name": "topics",
    "version": "1",
    "task": "classifier",
    "input": {"kind": "tokens", "vocabulary_size": 60, "embedding_size": 16},
    "recurrent": {"cell": "gru", "input_size": 16, "hidden_size": 8, "bidirectional": True, "merge": "sum"},
    "pooling": "max",
    "head": {"kind": "sigmoid", "size": 2},
    "labels": ["a", "b"],
}
MOTION: dict[str, Any] = {
    "format": 1,
    "name": "motion",
    "version": "1",
    "task": "encoder",
    "input": {"kind": "features", "size": 3},
    "recurrent": {"cell": "rnn_tanh", "input_size": 3, "hidden_size": 8},
}


def parse(config: dict[str, Any]) -> Any:
    return parse_config(json.dumps(config).encode())


def test_language_model() -> None:
    """Absent keys take the defaults that the format describes."""
    config = parse(KEYBOARD)
    assert config.key == "keyboard@1"
    assert config.sentence_end == "start_over"
    spec = config.network_spec()
    assert spec.input == TokenInputSpec(vocabulary_size=60, embedding_size=16)
    assert (spec.recurrent.projection_size, spec.recurrent.bias, spec.recurrent.bidirectional) == (
        16,
        True,
        False,
    )
    assert spec.pooling == ()
    assert spec.head is not None
    assert (spec.head.tied, spec.head.bias) == (True, True)


@pytest.mark.parametrize(("given", "pooling"), [("max", ("max",)), (["mean", "max"], ("mean", "max"))])
def test_pooling_is_one_or_several(given: object, pooling: tuple[str, ...]) -> None:
    """A single pooling may be written without a list."""
    spec = parse({**TOPICS, "pooling": given}).network_spec()
    assert spec.pooling == pooling
    assert (spec.recurrent.bidirectional, spec.recurrent.merge) == (True, "sum")


def test_merge_defaults_to_concat() -> None:
    """Two directions are concatenated unless told otherwise."""
    config = copy.deepcopy(TOPICS)
    del config["recurrent"]["merge"]
    assert parse(config).network_spec().recurrent.merge == "concat"
    assert parse(config).recurrent.output_size == 16


def test_encoder_of_features() -> None:
    """An encoder has no head."""
    spec = parse(MOTION).network_spec()
    assert spec.input == FeatureInputSpec(size=3)
    assert spec.head is None


Edit = Callable[[dict[str, Any]], object]

mistakes: list[tuple[str, dict[str, Any], Edit, str]] = [
    ("other format", KEYBOARD, lambda c: c.update(format=2), "format: input should be 1, got 2"),
    ("misspelt key", KEYBOARD, lambda c: c.update(lables=[]), "lables: is not a known key"),
    (
        "misspelt inner key",
        KEYBOARD,
        lambda c: c["recurrent"].update(hidden=3),
        "recurrent.hidden: is not a known key",
    ),
    ("missing key", KEYBOARD, lambda c: c.pop("recurrent"), "recurrent: field required"),
    (
        "missing input key",
        KEYBOARD,
        lambda c: c["input"].pop("vocabulary_size"),
        "input.vocabulary_size: field required",
    ),
    (
        "text for a size",
        KEYBOARD,
        lambda c: c["input"].update(vocabulary_size="60"),
        'input.vocabulary_size: input should be a valid integer, got "60"',
    ),
    (
        "number for a version",
        KEYBOARD,
        lambda c: c.update(version=1),
        "version: input should be a valid string, got 1",
    ),
    (
        "path for a name",
        KEYBOARD,
        lambda c: c.update(name="../x"),
        "name: string should match pattern",
    ),
    (
        "no such cell",
        KEYBOARD,
        lambda c: c["recurrent"].update(cell="transformer"),
        "recurrent.cell: input should be 'lstm', 'gru', 'rnn_tanh' or 'rnn_relu', got \"transformer\"",
    ),
    (
        "no such input",
        KEYBOARD,
        lambda c: c["input"].update(kind="images"),
        "input: input tag 'images' found using 'kind' does not match any of the expected tags",
    ),
    (
        "negative size",
        KEYBOARD,
        lambda c: c["recurrent"].update(hidden_size=-1),
        "recurrent.hidden_size: input should be greater than 0, got -1",
    ),
    (
        "input sizes differ",
        KEYBOARD,
        lambda c: c["recurrent"].update(input_size=8),
        "recurrent.input_size: expected 16 as input.embedding_size, got 8",
    ),
    (
        "feature sizes differ",
        MOTION,
        lambda c: c["recurrent"].update(input_size=8),
        "recurrent.input_size: expected 3 as input.size, got 8",
    ),
    (
        "names",
        MOTION,
        lambda c: c["input"].update(names=["x"]),
        "input: expected 3 names, one for each value of a step, got 1",
    ),
    (
        "projection of a gru",
        TOPICS,
        lambda c: c["recurrent"].update(projection_size=4),
        "recurrent: projection_size is for lstm only, got cell gru",
    ),
    (
        "wide projection",
        KEYBOARD,
        lambda c: c["recurrent"].update(projection_size=32),
        "recurrent: expected a projection_size below hidden_size 32, got 32",
    ),
    (
        "merge in one direction",
        KEYBOARD,
        lambda c: c["recurrent"].update(merge="sum"),
        "recurrent: merge is for bidirectional models only",
    ),
    (
        "pooling twice",
        TOPICS,
        lambda c: c.update(pooling=["max", "max"]),
        "pooling names one kind twice, got ['max', 'max']",
    ),
    (
        "bidirectional language model",
        KEYBOARD,
        lambda c: c["recurrent"].update(bidirectional=True),
        "task language_model: expected one direction and no pooling, it predicts every step",
    ),
    (
        "language model of features",
        MOTION,
        lambda c: c.update(task="language_model"),
        "task language_model: expected input.kind tokens, got features",
    ),
    (
        "head of another size",
        KEYBOARD,
        lambda c: c["head"].update(size=59, tied=False),
        "head.size: expected 60 as input.vocabulary_size, got 59",
    ),
    (
        "language model without head",
        KEYBOARD,
        lambda c: c.pop("head"),
        "head: expected one of kind softmax for task language_model, got none",
    ),
    (
        "encoder with head",
        MOTION,
        lambda c: c.update(head={"kind": "linear", "size": 2}),
        "head.kind: expected no head for task encoder, got linear",
    ),
    (
        "linear classifier",
        TOPICS,
        lambda c: c["head"].update(kind="linear"),
        "head.kind: expected softmax or sigmoid for task classifier, got linear",
    ),
    ("too few labels", TOPICS, lambda c: c.update(labels=["a"]), "labels: expected 2 as head.size, got 1"),
    ("no labels", TOPICS, lambda c: c.pop("labels"), "labels: expected 2 as head.size, got 0"),
    ("same label twice", TOPICS, lambda c: c.update(labels=["a", "a"]), "labels: expected each label once"),
    (
        "labels of an encoder",
        MOTION,
        lambda c: c.update(labels=["a"]),
        "labels are for classifiers only, got task encoder",
    ),
    (
        "start token of a classifier",
        TOPICS,
        lambda c: c["input"].update(start_token="<s>"),
        "start_token and end_token are for language models only, got task classifier",
    ),
    (
        "text of a classifier",
        TOPICS,
        lambda c: c.update(text={"sentence_end": "start_over"}),
        "text is for language models only, got task classifier",
    ),
    (
        "tied head of a pooled model",
        TOPICS,
        lambda c: c["head"].update(tied=True),
        "head.tied: expected token input and no pooling, it shares embedding.weight",
    ),
    (
        "tied head of another width",
        KEYBOARD,
        lambda c: c["recurrent"].update(projection_size=8),
        "head.tied: expected 8 values per step of the last layer as input.embedding_size, got 16",
    ),
]


@pytest.mark.parametrize(
    ("base", "edit", "told"), [case[1:] for case in mistakes], ids=[case[0] for case in mistakes]
)
def test_mistakes_are_told_in_one_line(base: dict[str, Any], edit: Edit, told: str) -> None:
    """Each mistake names its key, what was expected and what was there."""
    config = copy.deepcopy(base)
    edit(config)
    with pytest.raises(ConfigError) as caught:
        parse(config)
    line = str(caught.value)
    assert line.startswith(told)
    assert "\n" not in line


def test_many_mistakes_are_counted() -> None:
    """A line tells the first three mistakes and counts the rest."""
    with pytest.raises(ConfigError, match=r"^format: .*; name: .*; version: .*; and 3 more$"):
        parse({})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[1,"])
def test_not_json(content: bytes) -> None:
    """What is not JSON is told with the place of the first mistake."""
    with pytest.raises(ConfigError, match=r"is not valid JSON"):
        parse_config(content)


def test_json_of_another_kind() -> None:
    """JSON that is no object is told as such."""
    with pytest.raises(ConfigError, match="object"):
        parse_config(b"[1]")
