"""Loading a model folder, and each way in which it can be defective."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gatehouse_server.models.folder import ModelFolderError, load_folder
from gatehouse_server.models.weights import match_weights, read_weights
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from tests.tiny import (
    KEYBOARD_WORDS,
    LABELS,
    word_tokenizer,
    write_tiny_classifier,
    write_tiny_features,
    write_tiny_keyboard,
)


@pytest.fixture
def keyboard(tmp_path: Path) -> Path:
    return write_tiny_keyboard(tmp_path / "keyboard" / "1")


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    return write_tiny_classifier(tmp_path / "topics" / "2")


def edit_config(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((path / "config.json").read_text())
    edit(config)
    (path / "config.json").write_text(json.dumps(config))


def edit_weights(path: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    weights = load_file(path / "model.safetensors")
    edit(weights)
    save_file(weights, path / "model.safetensors")


def container(header: bytes) -> bytes:
    """A safetensors file of a header alone."""
    return len(header).to_bytes(8, "little") + header


def put_folder_in_place_of(file: Path) -> None:
    file.unlink()
    file.mkdir()


def problem_of(path: Path) -> str:
    with pytest.raises(ModelFolderError) as caught:
        load_folder(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(path))
    return line.removeprefix(str(path)).lstrip(":/ ")


def test_language_model(keyboard: Path) -> None:
    """A language model comes with its text, its start token and all that is known about it."""
    ticks = iter([1.0, 3.5])
    model = load_folder(keyboard, clock=lambda: next(ticks))
    assert (model.name, model.version, model.key) == ("keyboard", "1", "keyboard@1")
    assert model.online
    assert model.why_not_online() is None
    assert model.start_id == 1
    assert model.text is not None
    assert model.text.surface(KEYBOARD_WORDS.index("i")) == "I"
    assert KEYBOARD_WORDS.index("damn") in model.text.suppressed_ids
    assert model.config.sentence_end == "start_over"
    assert model.card.startswith("# keyboard")
    assert model.load_seconds == 2.5
    assert model.memory_bytes >= 4 * model.parameter_count


def test_classifier(classifier: Path) -> None:
    """A bidirectional, pooled classifier has labels, and says why no session can run on it."""
    model = load_folder(classifier)
    assert model.labels == LABELS
    assert not model.online
    assert model.start_id is None
    assert model.why_not_online() == (
        "topics@2 cannot run online, because it is bidirectional: its reverse direction begins at the end of "
        "a sequence and its output pools whole sequences (mean, max); "
        "send it whole documents (Classify)."
    )


def test_feature_model(tmp_path: Path) -> None:
    """A model of feature vectors has no text and runs online."""
    model = load_folder(write_tiny_features(tmp_path / "motion" / "1"))
    assert model.online
    assert model.text is None
    assert model.start_id is None


def test_half_precision_is_computed_in_single(keyboard: Path) -> None:
    """float16 weights give what the same values stored as float32 give."""
    edit_weights(keyboard, lambda weights: weights.update({n: w.half() for n, w in weights.items()}))
    half = load_folder(keyboard)
    edit_weights(keyboard, lambda weights: weights.update({n: w.float() for n, w in weights.items()}))
    single = load_folder(keyboard)
    outputs = []
    for model in (half, single):
        state = model.network.layout.zeros(1)
        outputs.append(model.network.step(torch.tensor([3]), state)[0])
    assert outputs[0].dtype == torch.float32
    assert torch.equal(outputs[0], outputs[1])
    assert half.fingerprint != single.fingerprint


def test_bare_recurrent_names(tmp_path: Path) -> None:
    """The state dict of a bare nn.LSTM or nn.GRU, without `rnn.`, is accepted as it is."""
    path = write_tiny_features(tmp_path / "motion" / "1")
    before = load_folder(path)

    def strip(weights: dict[str, Tensor]) -> None:
        for name in [name for name in weights if name.startswith("rnn.")]:
            weights[name.removeprefix("rnn.")] = weights.pop(name)

    edit_weights(path, strip)
    state = before.network.layout.zeros(1)
    x = torch.tensor([[1.0, 2.0, 3.0]])
    assert torch.equal(before.network.step(x, state)[0], load_folder(path).network.step(x, state)[0])


def test_repeated_head_of_a_tied_model(keyboard: Path) -> None:
    """A tied model saved with its head as well loads when both are equal, and not otherwise."""
    edit_weights(
        keyboard, lambda weights: weights.update({"head.weight": weights["embedding.weight"].clone()})
    )
    load_folder(keyboard)
    edit_weights(keyboard, lambda weights: weights["head.weight"].add_(1))
    assert "holds head.weight, which config.json has no place for" in problem_of(keyboard)


def test_parameter_table(keyboard: Path, classifier: Path, tmp_path: Path) -> None:
    """Each matrix is listed with its shape, its count and the formula of it."""
    features = write_tiny_features(tmp_path / "motion" / "1")
    tables = {
        path: {m.name: (m.shape, m.count, m.formula) for m in load_folder(path).parameters}
        for path in (keyboard, classifier, features)
    }
    assert tables[keyboard] == {
        "embedding.weight": ((66, 16), 1056, "V·E"),
        "rnn.weight_ih_l0": ((128, 16), 2048, "4·H·E"),
        "rnn.weight_hh_l0": ((128, 16), 2048, "4·H·P"),
        "rnn.bias_ih_l0": ((128,), 128, "4·H"),
        "rnn.bias_hh_l0": ((128,), 128, "4·H"),
        "rnn.weight_hr_l0": ((16, 32), 512, "P·H"),
        "head.bias": ((66,), 66, "V"),
    }
    assert load_folder(keyboard).parameter_count == 1056 + 2048 + 2048 + 128 + 128 + 512 + 66
    assert tables[classifier]["head.weight"] == ((3, 64), 192, "O·(2·2·H)")
    assert tables[classifier]["rnn.weight_hh_l0_reverse"] == ((64, 16), 1024, "4·H·H")
    assert tables[features]["rnn.weight_ih_l0"] == ((48, 3), 144, "3·H·N")
    assert tables[features]["rnn.weight_ih_l1"] == ((48, 16), 768, "3·H·H")


def test_fingerprint_follows_the_content(keyboard: Path, tmp_path: Path) -> None:
    """Copies have one fingerprint; any file that changes an answer changes it; the card does not."""
    original = load_folder(keyboard).fingerprint
    assert len(original) == 64
    copy = tmp_path / "elsewhere" / "keyboard" / "1"
    shutil.copytree(keyboard, copy)
    (copy / "card.md").write_text("another card")
    assert load_folder(copy).fingerprint == original
    seen = {original}
    for change in (
        lambda: edit_config(copy, lambda config: config.update(description="another")),
        lambda: edit_weights(copy, lambda weights: weights["head.bias"].add_(1)),
        lambda: (copy / "display.json").write_text('{"i": "I"}'),
        lambda: (copy / "blocked.txt").write_text("cat\n"),
        lambda: (copy / "blocked.txt").unlink(),
        lambda: (copy / "tokenizer.json").write_text((copy / "tokenizer.json").read_text() + "\n"),
    ):
        change()
        seen.add(load_folder(copy).fingerprint)
    assert len(seen) == 7


def test_missing_folder(tmp_path: Path) -> None:
    """A path that is no folder says what one is."""
    assert problem_of(tmp_path / "nothing" / "1").startswith("is not a folder; make it <name>/<version>")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("config.json", "config.json is missing; write it as docs/model-format.md describes"),
        (
            "model.safetensors",
            "model.safetensors is missing; save the weights with safetensors.torch.save_file",
        ),
        (
            "tokenizer.json",
            "tokenizer.json is missing; save the tokenizer with tokenizers.Tokenizer.save(path)",
        ),
    ],
)
def test_missing_file(keyboard: Path, name: str, told: str) -> None:
    """A missing file is named, with how to make it."""
    (keyboard / name).unlink()
    assert problem_of(keyboard).startswith(told)


@pytest.mark.parametrize("padding", range(0, 256, 8))
def test_safetensors_of_any_header_length_are_read(padding: int) -> None:
    """The file begins with that length, whose first byte may be the one that pickles begin with."""
    content = save({"x": torch.ones(2)}, metadata={"note": "n" * padding})
    assert torch.equal(read_weights(content)["x"], torch.ones(2))


def test_missing_weights_beside_a_pickle(keyboard: Path) -> None:
    """A pickle in place of the weights is pointed at and left alone."""
    (keyboard / "model.safetensors").rename(keyboard / "model.pt")
    assert "missing (found model.pt, which is never opened)" in problem_of(keyboard)


def test_optional_files_may_be_missing(keyboard: Path) -> None:
    """Display forms, block-list and card are optional."""
    for name in ("display.json", "blocked.txt", "card.md"):
        (keyboard / name).unlink()
    assert load_folder(keyboard).card == ""


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"PK\x03\x04 and so on",
            "is a pickle (as torch.save writes it), which is never opened; save it with",
        ),
        (b"\x80\x02}q\x00.", "is a pickle (as torch.save writes it), which is never opened"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a Git LFS pointer, not the weights; fetch them with",
        ),
        (b"", "is truncated: 0 bytes; copy it again"),
        (b"hello, these are no weights", "is not a safetensors file; save it with"),
        (b"\x08\0\0\0\0\0\0\0{broken}", "is not a safetensors file: its header is damaged"),
        (b'\x08\0\0\0\0\0\0\0{"a":[]}', "is not a safetensors file: its header is damaged"),
    ],
)
def test_weights_of_another_kind(keyboard: Path, content: bytes, told: str) -> None:
    """What people put in place of the weights is recognised."""
    (keyboard / "model.safetensors").write_bytes(content)
    assert problem_of(keyboard).startswith("model.safetensors: " + told)


@pytest.mark.parametrize("kept", [100, 1000, -1])
def test_truncated_weights(keyboard: Path, kept: int) -> None:
    """A file cut short, in its header or its data, is told with both sizes."""
    content = (keyboard / "model.safetensors").read_bytes()
    (keyboard / "model.safetensors").write_bytes(content[:kept])
    got = len(content[:kept])
    line = problem_of(keyboard)
    assert line.startswith("model.safetensors: is truncated: expected ")
    assert f"got {got}" in line


def test_damaged_header_that_reads_as_one(keyboard: Path) -> None:
    """Offsets that do not fit together are reported, not raised."""
    content = (keyboard / "model.safetensors").read_bytes()
    (keyboard / "model.safetensors").write_bytes(
        content.replace(b'"data_offsets":[0,', b'"data_offsets":[8,')
    )
    assert problem_of(keyboard).startswith("model.safetensors: is not readable (")


weights_defects: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "missing": (
        lambda w: w.pop("head.bias"),
        "lacks head.bias (66); correct config.json (layers, bias, bidirectional, projection_size, head) or",
    ),
    "unknown": (
        lambda w: w.update({"rnn.weight_ih_l1": torch.zeros(1)}),
        "holds rnn.weight_ih_l1, which config.json has no place for; correct config.json",
    ),
    "other name": (
        lambda w: w.update({f"lstm.{n[4:]}": w.pop(n) for n in list(w) if n.startswith("rnn.")}),
        "lacks rnn.bias_hh_l0 (128), rnn.bias_ih_l0 (128), rnn.weight_hh_l0 (128, 16), rnn.weight_hr_l0 "
        "(16, 32) and 1 more and holds lstm.bias_hh_l0, lstm.bias_ih_l0, lstm.weight_hh_l0, "
        "lstm.weight_hr_l0 "
        "and 1 more, which config.json has no place for; rename lstm.bias_hh_l0 to rnn.bias_hh_l0,",
    ),
    "misshapen": (
        lambda w: w.update({"rnn.weight_hh_l0": torch.zeros(128, 32)}),
        "rnn.weight_hh_l0 has a shape unlike config.json's: expected (128, 16), got (128, 32); correct",
    ),
    "twice": (
        lambda w: w.update({"weight_hh_l0": torch.zeros(1)}),
        "holds rnn.weight_hh_l0 twice, with and without `rnn.`; keep one of the two",
    ),
    "double precision": (
        lambda w: w.update({"head.bias": w["head.bias"].double()}),
        "head.bias: expected float32 or float16, got float64; save it after module.float()",
    ),
    "integers": (
        lambda w: w.update({"head.bias": w["head.bias"].int()}),
        "head.bias: expected float32 or float16, got int32",
    ),
    "not finite": (
        lambda w: w["embedding.weight"][2, 3:5].fill_(float("nan")),
        "embedding.weight holds 2 values that are not finite; training diverged or float16 overflowed",
    ),
    "infinite": (
        lambda w: w["head.bias"][0].fill_(float("inf")),
        "head.bias holds 1 values that are not finite",
    ),
}


@pytest.mark.parametrize("defect", weights_defects)
def test_weights_that_do_not_fit(keyboard: Path, defect: str) -> None:
    """Missing, unknown, misshapen and unusable weights are named with what was expected."""
    edit, told = weights_defects[defect]
    edit_weights(keyboard, edit)
    assert problem_of(keyboard).startswith("model.safetensors: " + told)


folder_defects: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder's name": (
        lambda path: edit_config(path, lambda c: c.update(name="topics")),
        "config.json: name: expected 'keyboard' as the folder is named, got 'topics'; rename the folder",
    ),
    "folder's version": (
        lambda path: edit_config(path, lambda c: c.update(version="2")),
        "config.json: version: expected '1' as the folder is named, got '2'; rename the folder",
    ),
    "broken tokenizer": (
        lambda path: (path / "tokenizer.json").write_text("{}"),
        "tokenizer.json: cannot be read (",
    ),
    "smaller tokenizer": (
        lambda path: word_tokenizer(KEYBOARD_WORDS[:-1]).save(str(path / "tokenizer.json")),
        "tokenizer.json: expected 66 tokens as input.vocabulary_size, got 65; use the tokenizer that",
    ),
    "unknown token missing": (
        lambda path: word_tokenizer(["<oov>", *KEYBOARD_WORDS[1:]]).save(str(path / "tokenizer.json")),
        "tokenizer.json: its unknown token '<unk>' is not in its vocabulary",
    ),
    "end token missing": (
        lambda path: edit_config(path, lambda c: c["input"].update(end_token="<end>")),
        "config.json: input.end_token: expected a token of the vocabulary, got '<end>'; name a token that",
    ),
    "display not JSON": (
        lambda path: (path / "display.json").write_text("{"),
        "display.json: is not valid JSON (",
    ),
    "display a list": (
        lambda path: (path / "display.json").write_text("[]"),
        "display.json: expected an object, got list; write it as",
    ),
    "display a number": (
        lambda path: (path / "display.json").write_text('{"i": 1}'),
        "display.json: i: expected a display form, got 1",
    ),
    "blocked not UTF-8": (
        lambda path: (path / "blocked.txt").write_bytes(b"\xff"),
        "blocked.txt: is not UTF-8",
    ),
    "weights of an endless shape": (
        lambda path: (path / "model.safetensors").write_bytes(
            container(b'{"a":{"dtype":"F32","shape":[0,9223372036854775808],"data_offsets":[0,0]}}')
        ),
        "model.safetensors: is not readable (",
    ),
    "config a folder": (
        lambda path: put_folder_in_place_of(path / "config.json"),
        "config.json: cannot be read (Is a directory); make it a readable file",
    ),
}


@pytest.mark.parametrize("defect", folder_defects)
def test_folder_that_does_not_fit(keyboard: Path, defect: str) -> None:
    """Files that contradict each other, or are not what they should be, are told in one line."""
    edit, told = folder_defects[defect]
    edit(keyboard)
    assert problem_of(keyboard).startswith(told)


def test_whatever_breaks_is_the_folders_failure(keyboard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody thought of is told in one line, too, so that it harms no other model."""

    def fail(specs: object) -> None:
        raise MemoryError("no room\nat all")

    monkeypatch.setattr("gatehouse_server.models.folder.expected_shapes", fail)
    assert problem_of(keyboard).startswith("cannot be loaded (MemoryError: no room at all); correct")


def test_gap_in_the_vocabulary(keyboard: Path) -> None:
    """Ids with a gap would index outside the embedding."""
    content = json.loads((keyboard / "tokenizer.json").read_text())
    content["model"]["vocab"]["your"] = 99
    (keyboard / "tokenizer.json").write_text(json.dumps(content))
    assert problem_of(keyboard).startswith("tokenizer.json: expected ids from 0 to 65 without a gap, got 99")


def test_tokenizer_of_a_feature_model(tmp_path: Path) -> None:
    """A tokenizer beside a model of feature vectors is a mistake, not ignored."""
    path = write_tiny_features(tmp_path / "motion" / "1")
    word_tokenizer(KEYBOARD_WORDS).save(str(path / "tokenizer.json"))
    assert problem_of(path).startswith("tokenizer.json: has no meaning for a model that takes features")


def test_device_that_does_not_exist(keyboard: Path) -> None:
    """A network that cannot be put on its device is this model's failure, told with the device."""
    with pytest.raises(ModelFolderError, match="the network could not be built on nonsense"):
        load_folder(keyboard, "nonsense")


def test_weights_are_handed_on_as_float32() -> None:
    """Whatever they were stored in, the parameters are float32."""
    matched = match_weights({"head.bias": torch.ones(2, dtype=torch.float16)}, {"head.bias": (2,)})
    assert matched["head.bias"].dtype == torch.float32
