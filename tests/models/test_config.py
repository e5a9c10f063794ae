"""config.json: what is accepted, and how each mistake is told."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from gatehouse_server.models.config import ConfigError, parse_config
from gatehouse_server.network.cell_options import CellOptions
from gatehouse_server.network.spec import FeatureInputSpec, InitialSpec, TokenInputSpec

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
    (layer,) = spec.recurrent.layers
    assert (layer.projection_size, layer.bias, layer.direction) == (16, True, "forward")
    assert spec.pooling == ()
    assert spec.head is not None
    assert (spec.head.tied, spec.head.bias) == (True, True)


@pytest.mark.parametrize(("given", "pooling"), [("max", ("max",)), (["mean", "max"], ("mean", "max"))])
def test_pooling_is_one_or_several(given: object, pooling: tuple[str, ...]) -> None:
    """A single pooling may be written without a list."""
    spec = parse({**TOPICS, "pooling": given}).network_spec()
    assert spec.pooling == pooling
    (layer,) = spec.recurrent.layers
    assert (layer.direction, layer.merge) == ("both", "sum")


def test_merge_defaults_to_concat() -> None:
    """Two directions are concatenated unless told otherwise."""
    config = copy.deepcopy(TOPICS)
    del config["recurrent"]["merge"]
    recurrent = parse(config).network_spec().recurrent
    assert (recurrent.layers[0].merge, recurrent.output_size) == ("concat", 16)


def test_encoder_of_features() -> None:
    """An encoder has no head."""
    spec = parse(MOTION).network_spec()
    assert spec.input == FeatureInputSpec(size=3)
    assert spec.head is None


def test_layers_of_different_kinds() -> None:
    """A list of layers gives each what it has of its own; the rest is as the section says."""
    config = copy.deepcopy(MOTION)
    config["recurrent"] = {
        "cell": "lstm",
        "input_size": 3,
        "bias": False,
        "peepholes": True,
        "layers": [
            {"hidden_size": 8, "bidirectional": True, "merge": "sum", "reverse": {"activation": "relu"}},
            {"hidden_size": 5, "projection_size": 2, "peepholes": False, "coupled": True},
            {"cell": "gru", "hidden_size": 4, "peepholes": False, "reset": "before", "bias": True},
        ],
    }
    first, second, third = parse(config).network_spec().recurrent.layers
    assert (first.direction, first.merge, first.bias, first.output_size) == ("both", "sum", False, 8)
    assert first.options == CellOptions(peepholes=True)
    assert first.reverse_options == CellOptions(peepholes=True, activation="relu")
    assert (second.input_size, second.output_size, second.options) == (8, 2, CellOptions(coupled=True))
    assert (third.input_size, third.bias, third.options) == (2, True, CellOptions(reset="before"))


def test_a_vector_may_set_the_initial_state() -> None:
    """The section `initial` says how wide it is."""
    spec = parse({**MOTION, "initial": {"size": 7}}).network_spec()
    assert spec.initial == InitialSpec(size=7, activation="tanh")


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
        "recurrent: cell: expected one of lstm, gru, rnn, rnn_tanh, rnn_relu, got 'transformer'",
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
        "recurrent: projection_size: expected 0 for cell gru, got 4",
    ),
    (
        "wide projection",
        KEYBOARD,
        lambda c: c["recurrent"].update(projection_size=32),
        "recurrent: projection_size: expected 0..31, less than hidden_size, got 32",
    ),
    (
        "merge in one direction",
        KEYBOARD,
        lambda c: c["recurrent"].update(merge="sum"),
        "recurrent: merge is for bidirectional layers only",
    ),
    (
        "layer of an unknown cell",
        MOTION,
        lambda c: c["recurrent"].update(layers=[{}, {"cell": "transformer"}]),
        "recurrent: layers[1]: cell: expected one of lstm",
    ),
    (
        "misspelt key of a layer",
        MOTION,
        lambda c: c["recurrent"].update(layers=[{"hidden": 3}]),
        "recurrent.layers.0.hidden: is not a known key",
    ),
    (
        "no layers",
        MOTION,
        lambda c: c["recurrent"].update(layers=0),
        "recurrent.layers: input should be greater than or equal to 1, got 0",
    ),
    (
        "layers that are neither",
        MOTION,
        lambda c: c["recurrent"].update(layers="two"),
        "recurrent.layers: ",
    ),
    (
        "option of another cell",
        MOTION,
        lambda c: c["recurrent"].update(cell="gru", peepholes=True),
        "recurrent: peepholes: not an option of cell gru",
    ),
    (
        "clip of nothing",
        MOTION,
        lambda c: c["recurrent"].update(cell_clip=0),
        "recurrent.cell_clip: input should be greater than 0, got 0",
    ),
    (
        "direction said twice",
        MOTION,
        lambda c: c["recurrent"].update(direction="both", bidirectional=True),
        "recurrent: expected bidirectional or direction, not both",
    ),
    (
        "reverse options of a forward layer",
        MOTION,
        lambda c: c["recurrent"].update(reverse={"activation": "relu"}),
        "recurrent: reverse is for layers with a reverse direction only",
    ),
    (
        "initial state of a bidirectional model",
        TOPICS,
        lambda c: c.update(initial={"size": 7}),
        "initial: expected layers of one direction",
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
