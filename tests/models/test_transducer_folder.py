"""Folders of transducers: what they load as, and which line tells what is wrong with them."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gatehouse_server.errors import ModelFolderError
from gatehouse_server.models.folder import load_folder
from gatehouse_server.models.output_text import OutputText
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.models import WordLevel

from tests.tiny import WRITTEN, write_tiny_classifier, write_tiny_transducer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder without a defect."""
    return write_tiny_transducer(tmp_path / "tiny" / "1")


def change(folder: Path, changed: Callable[[dict[str, Any]], object]) -> None:
    """Has config.json say something else."""
    config = json.loads((folder / "config.json").read_text())
    changed(config)
    (folder / "config.json").write_text(json.dumps(config))


def test_both_networks_are_loaded(folder: Path) -> None:
    """The encoder without a head, the decoder with bridge and head, each with its own weights."""
    model = load_folder(folder)
    weights = load_file(folder / "model.safetensors")
    assert model.transducer is not None
    assert model.transducer.encoder is model.network
    assert model.network.head is None
    assert model.transducer.decoder.head is not None
    assert (model.transducer.start_id, model.transducer.end_id) == (0, 1)
    assert model.transducer.suppressed_ids == (0, 2)
    assert not model.online
    assert "Transduce" in (model.why_not_online() or "")
    assert model.parameter_count == sum(value.numel() for value in weights.values())


def test_the_parameter_table_tells_both_apart(folder: Path) -> None:
    """Full names; and the decoder's letters have a mark, since they are of another size."""
    formulas = {row.name: row.formula for row in load_folder(folder).parameters}
    assert formulas["encoder.embedding.weight"] == "V·E"
    assert formulas["decoder.embedding.weight"] == "V′·E′"
    assert formulas["decoder.initial.weight"] == "S′·I′"
    assert formulas["decoder.rnn.weight_hh_l0"] == "3·H′·H′"
    assert formulas["decoder.head.weight"] == "V′·H′"


def test_the_fingerprint_covers_the_output_tokenizer(folder: Path) -> None:
    """Other letters for the same tokens make another model."""
    before = load_folder(folder).fingerprint
    path = folder / "output_tokenizer.json"
    path.write_text(path.read_text().replace('"a"', '"z"'))
    assert load_folder(folder).fingerprint != before


def test_a_tied_decoder_head_may_be_stored_or_not(folder: Path) -> None:
    """Either way it counts once."""
    weights = load_file(folder / "model.safetensors")
    del weights["decoder.head.weight"]
    weights["decoder.embedding.weight"] = torch.randn(len(WRITTEN), 24)
    weights["decoder.rnn.weight_ih_l0"] = torch.randn(72, 24)

    def tie(config: dict[str, Any]) -> None:
        decoder = config["decoder"]
        decoder["input"]["embedding_size"] = decoder["recurrent"]["input_size"] = 24
        decoder["head"]["tied"] = True

    change(folder, tie)
    save_file(weights, folder / "model.safetensors")
    once = load_folder(folder)
    weights["decoder.head.weight"] = weights["decoder.embedding.weight"].clone()
    save_file(weights, folder / "model.safetensors")
    assert load_folder(folder).parameters == once.parameters


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (lambda config: config.pop("decoder"), "decoder: expected one for task transducer, got none"),
        (lambda config: config.update(task="encoder"), "decoder is for transducers only, got task encoder"),
        (lambda config: config.update(head={"kind": "softmax", "size": 3}), "head.kind: expected no head"),
        (lambda config: config.update(initial={"size": 3}), "initial: a transducer has it in decoder"),
        (lambda config: config.update(labels=["a"]), "labels are for classifiers only"),
        (lambda config: config["decoder"].pop("initial"), "decoder.initial: field required"),
        (
            lambda config: config["decoder"]["initial"].update(size=31),
            "decoder.initial.size: expected 32, what the encoder hands on of a whole sequence, got 31",
        ),
        (
            lambda config: config.update(pooling=["mean", "max"]),
            "decoder.initial.size: expected 64, what the encoder hands on of a whole sequence, got 32",
        ),
        (
            lambda config: config["decoder"]["input"].pop("end_token"),
            "decoder.input.end_token: field required",
        ),
        (
            lambda config: config["decoder"]["input"].update(end_token="<end>"),
            "decoder.input.end_token: expected a token of the output vocabulary, got '<end>'",
        ),
        (
            lambda config: config["decoder"]["input"].update(unknown_token="?"),
            "decoder.input.unknown_token: expected a token of the output vocabulary, got '?'",
        ),
        (
            lambda config: config["decoder"]["recurrent"].update(bidirectional=True),
            "decoder: recurrent: expected one direction",
        ),
        (
            lambda config: config["decoder"]["recurrent"].update(input_size=7),
            "recurrent.input_size: expected 8 as input.embedding_size, got 7",
        ),
        (
            lambda config: config["decoder"]["head"].update(kind="sigmoid"),
            "head.kind: expected softmax, got sigmoid",
        ),
        (
            lambda config: config["decoder"]["head"].update(size=5),
            "head.size: expected 12 as input.vocabulary_size, got 5",
        ),
        (
            lambda config: config["decoder"]["head"].update(tied=True),
            "head.tied: expected 24 values per step of the last layer as input.embedding_size, got 8",
        ),
        (lambda config: config["decoder"].update(beam=3), "decoder.beam: is not a known key"),
    ],
)
def test_a_config_whose_halves_do_not_fit_is_refused(
    folder: Path, changed: Callable[[dict[str, Any]], object], line: str
) -> None:
    """One line names the key, what was expected and what was there."""
    change(folder, changed)
    with pytest.raises(ModelFolderError, match=re.escape(line)) as caught:
        load_folder(folder)
    assert "\n" not in str(caught.value)


def test_weights_of_a_decoder_that_are_missing_are_named(folder: Path) -> None:
    """By their full names."""
    weights = load_file(folder / "model.safetensors")
    weights["decoder.bridge.weight"] = weights.pop("decoder.initial.weight")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelFolderError, match=r"lacks decoder\.initial\.weight \(24, 32\)"):
        load_folder(folder)


def test_a_folder_without_output_tokenizer_is_refused(folder: Path) -> None:
    """It could not say what it writes."""
    (folder / "output_tokenizer.json").unlink()
    with pytest.raises(ModelFolderError, match=r"output_tokenizer\.json is missing"):
        load_folder(folder)


def test_an_output_tokenizer_of_another_size_is_refused(folder: Path) -> None:
    """Its tokens would be another model's."""
    Tokenizer(WordLevel({"a": 0, "<s>": 1, "</s>": 2}, unk_token="a")).save(
        str(folder / "output_tokenizer.json")
    )
    with pytest.raises(
        ModelFolderError, match=r"expected 12 tokens as decoder\.input\.vocabulary_size, got 3"
    ):
        load_folder(folder)


def test_an_output_tokenizer_where_nothing_is_written_is_refused(tmp_path: Path) -> None:
    """A classifier that has one was meant to be something else."""
    folder = write_tiny_classifier(tmp_path / "topics" / "1")
    (folder / "output_tokenizer.json").write_text("{}")
    with pytest.raises(ModelFolderError, match=r"has no meaning for a model of task classifier"):
        load_folder(folder)


def words(
    decoder: decoders.Decoder | None = None, tokens: tuple[str, ...] = ("<s>", "</s>", "to", "be")
) -> OutputText:
    """The text of a few words."""
    tokenizer = Tokenizer(WordLevel({token: number for number, token in enumerate(tokens)}, unk_token="</s>"))
    if decoder is not None:
        tokenizer.decoder = decoder
    return OutputText(tokenizer, start_token="<s>", end_token="</s>", unknown_token=None)


def test_tokens_are_joined_as_the_tokenizer_says() -> None:
    """By its decoder; else by blanks, unless blanks are tokens."""
    assert words(decoders.Fuse()).decode([2, 3]) == "tobe"
    assert words().decode([2, 3]) == "to be"
    assert words(tokens=("<s>", "</s>", "t", " ", "b")).decode([2, 3, 4]) == "t b"
    assert words().decode([]) == ""


def test_what_stands_for_no_text_is_never_written() -> None:
    """Start, unknown and other control tokens; the end token alone may come, whatever else it is."""
    tokenizer = Tokenizer(
        WordLevel(
            {token: number for number, token in enumerate(["a", "</s>", "[PAD]", "b"])}, unk_token="</s>"
        )
    )
    tokenizer.add_special_tokens([AddedToken("!!", special=True)])
    text = OutputText(tokenizer, start_token="</s>", end_token="</s>", unknown_token=None)
    assert text.suppressed_ids == (2, 4)
