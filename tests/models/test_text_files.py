"""The files of a model folder that concern text: what the library fails at, and what people save."""

import json
from pathlib import Path

import pytest
from gatehouse_server.errors import ModelFolderError
from gatehouse_server.models.folder import load_folder

from tests.tiny import KEYBOARD_WORDS, write_tiny_keyboard

IDS = {word: number for number, word in enumerate(KEYBOARD_WORDS)}
WORD_PIECES = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
    "vocab": IDS,
}

DEFECTS: dict[str, tuple[dict[str, object], str]] = {
    "panics as it is read": (
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}},
        "cannot be read (a library panicked: Precompiled: ",
    ),
    "panics at its own tokens": (
        {"decoder": {"type": "Strip", "content": "a", "start": 1, "stop": 1}},
        "fails at its own tokens (RuntimeError: a library panicked: ",
    ),
    "word pieces without their unknown token": (
        {"model": WORD_PIECES},
        "its unknown token '[UNK]' is not in its vocabulary (WordPiece error: ",
    ),
    "merges without their unknown token": (
        {"model": {"type": "BPE", "unk_token": "<oov>", "vocab": IDS, "merges": []}},
        "its unknown token '<oov>' is not in its vocabulary (",
    ),
    "a unigram model without an unknown token": (
        {"model": {"type": "Unigram", "unk_id": None, "vocab": [[word, -1.0] for word in IDS]}},
        "an unknown token is not in its vocabulary (",
    ),
}


@pytest.fixture
def keyboard(tmp_path: Path) -> Path:
    return write_tiny_keyboard(tmp_path / "keyboard" / "1")


def edit_tokenizer(path: Path, **parts: object) -> None:
    file = path / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | parts))


@pytest.mark.parametrize("defect", DEFECTS)
def test_tokenizers_that_would_fail_in_the_middle_of_serving_are_not_loaded(
    keyboard: Path, defect: str
) -> None:
    """However the library tells of it, be it by a panic, it is the folder's failure, in one line."""
    parts, told = DEFECTS[defect]
    edit_tokenizer(keyboard, **parts)
    with pytest.raises(ModelFolderError) as caught:
        load_folder(keyboard)
    assert str(caught.value).startswith(f"{keyboard / 'tokenizer.json'}: {told}")
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_loses_what_it_does_not_know_loads(keyboard: Path) -> None:
    """One without any unknown token, of which the library makes nothing, can be served."""
    edit_tokenizer(keyboard, model={"type": "BPE", "vocab": IDS, "merges": []})
    config = json.loads((keyboard / "config.json").read_text())
    del config["input"]["unknown_token"]
    (keyboard / "config.json").write_text(json.dumps(config))
    text = load_folder(keyboard).text
    assert text is not None
    assert text.encode("\U00012000") == []


def test_a_byte_order_mark_is_no_part_of_the_first_blocked_word(keyboard: Path) -> None:
    """Editors put it before lists that they save as "UTF-8 with BOM"."""
    (keyboard / "blocked.txt").write_bytes(b"\xef\xbb\xbfhome\ndamn\n")
    text = load_folder(keyboard).text
    assert text is not None
    assert {KEYBOARD_WORDS.index("home"), KEYBOARD_WORDS.index("damn")} <= text.suppressed_ids
