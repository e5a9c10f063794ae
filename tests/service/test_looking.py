"""A real server looked into: online and offline, and drawn."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gatehouse import Client
from gatehouse.activations import LayerActivations

from tests.client.commands import run
from tests.service.conftest import launch, stop
from tests.tiny import (
    write_tiny_classifier,
    write_tiny_encoder,
    write_tiny_features,
    write_tiny_keyboard,
    write_tiny_melody,
)

NOTES = "c4 e4 g4 c5 bar zz a3 a3"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a model of each kind."""
    models = tmp_path_factory.mktemp("looked-into")
    write_tiny_keyboard(models / "keyboard" / "1")
    write_tiny_melody(models / "melody" / "1")
    write_tiny_encoder(models / "encoder" / "1")
    write_tiny_classifier(models / "topics" / "1")
    write_tiny_features(models / "motion" / "1")
    write_tiny_features(models / "broken" / "1")
    (models / "broken" / "1" / "model.safetensors").write_bytes(b"not safetensors")
    process, serving = launch("--models", str(models), "--no-embedded-models")
    yield serving["grpc"]
    assert stop(process) == 0


@pytest.fixture(scope="module")
def client(target: str) -> Iterator[Client]:
    """Of that server."""
    with Client(target) as client:
        yield client


def assert_same(one: tuple[LayerActivations, ...], other: tuple[LayerActivations, ...]) -> None:
    """All values, to the bit."""
    assert [(layer.layer, layer.reverse) for layer in one] == [
        (layer.layer, layer.reverse) for layer in other
    ]
    for left, right in zip(one, other, strict=True):
        assert [each.name for each in left.activations] == [each.name for each in right.activations]
        for each in left.activations:
            np.testing.assert_array_equal(each.values, right[each.name], err_msg=each.name)


@pytest.mark.parametrize(
    ("model", "text"), [("keyboard", "How are you doing , Boston ?"), ("melody", NOTES), ("encoder", NOTES)]
)
def test_sessions_and_documents_are_the_same_inside(client: Client, model: str, text: str) -> None:
    """A causal model does the same whether its sequence is a session's, in two writes, or a document."""
    session = client.session(model)
    words = text.split()
    first = session.append(text=" ".join(words[:3]), activations=True)
    rest = session.append(text=" ".join(words[3:]), activations=True, hidden=True)
    (document,) = client.classify_batch([("a", text)], model=model, activations=True)
    assert document.error is None
    assert document.token_ids == first.token_ids + rest.token_ids
    assert document.token_texts == first.token_texts + rest.token_texts
    assert len(document.token_texts) == len(words)
    for layer, one, other in zip(document.activations, first.activations, rest.activations, strict=True):
        for each in layer.activations:
            told = np.concatenate([one[each.name], other[each.name]])
            np.testing.assert_array_equal(each.values, told, err_msg=each.name)
    assert rest.hidden is not None
    assert rest.hidden.tolist() == np.asarray(document.activations[-1]["hidden"])[-1].tolist()


def test_a_bidirectional_model_tells_both_directions(client: Client) -> None:
    """The reverse direction of a text begins at its end, and beside others in one call each document has its own."""
    words = ["we", "study", "the", "cell", "of", "a", "star"]
    documents = [("there", " ".join(words)), ("back", " ".join(reversed(words))), ("short", "gene")]
    there, back, short = client.classify_batch(documents, model="topics", activations=True)
    assert [(layer.layer, layer.reverse) for layer in there.activations] == [(0, False), (0, True)]
    assert there.token_texts == tuple(words)
    assert there.scores
    assert short.activations[0]["cell"].shape == (1, 16)
    assert not np.array_equal(there.activations[1]["cell"], np.asarray(back.activations[1]["cell"])[::-1])
    alone = next(iter(client.classify([documents[0]], model="topics", activations=True)))
    assert_same(alone.activations, there.activations)


def test_inspect_draws_what_a_model_does(target: str, tmp_path: Path) -> None:
    """Of a model that runs online and of one that does not: a PNG, nothing printed, and no session left behind."""
    for model, text in (("keyboard", "how are you doing today ?"), ("melody", NOTES), ("topics", "a star")):
        out = tmp_path / f"{model}.png"
        result = run("inspect", model, text, "--out", out, target=target)
        assert (result.exit_code, result.output) == (0, "")
        png = out.read_bytes()
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        assert min(struct.unpack(">2I", png[16:24])) > 900


def test_inspect_prints_numbers(target: str) -> None:
    """`--json`: the tokens, and of each layer and direction every quantity with a row for each token."""
    result = run("inspect", "topics@1", "A star qqq", "--json", target=target)
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert (told["model"], told["tokens"]) == ("topics@1", ["a", "star", "<unk>"])
    assert [(layer["layer"], layer["direction"]) for layer in told["layers"]] == [
        (0, "forward"),
        (0, "reverse"),
    ]
    assert set(told["layers"][0]["activations"]) == {
        "input",
        "forget",
        "output",
        "candidate",
        "cell",
        "hidden",
    }
    assert np.shape(told["layers"][1]["activations"]["forget"]) == (3, 16)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["keyboard", "how are you"], "say where to draw, or ask for numbers"),
        (["nobody", "how are you", "--json"], "no model 'nobody'"),
        (["broken", "how are you", "--json"], "model.safetensors"),
        (["motion", "how are you", "--json"], "motion@1 takes feature vectors, not text"),
        (["keyboard", " ", "--json"], "there is no token in it"),
        (["topics", " ", "--json"], ""),
        (["keyboard", "how", "--out", "gates.jpg"], "let the name end in .png"),
        (["keyboard", "how", "--out", "/nowhere/at/all/gates.png"], "there is no folder '/nowhere/at/all'"),
        (["keyboard", "how " * 5000, "--json"], "at most 4096 are allowed"),
    ],
)
def test_inspect_refuses_in_one_line(target: str, arguments: list[str], told: str) -> None:
    """Whatever cannot be looked into or drawn ends with exit code 2 and one line that says what to mend."""
    result = run("inspect", *arguments, target=target)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert told in result.stderr


def test_inspect_without_matplotlib_says_what_to_install(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is computed; numbers are printed without it."""
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)  # as if it could not be found
    monkeypatch.delitem(sys.modules, "gatehouse.command.heat_maps", raising=False)
    out = tmp_path / "gates.png"
    result = run("inspect", "keyboard", "how", "--out", out, target="127.0.0.1:1")
    assert (result.exit_code, out.exists()) == (2, False)
    assert "pip install 'gatehouse[inspect]'" in result.stderr
    assert run("inspect", "keyboard", "how", "--json", target=target).exit_code == 0
