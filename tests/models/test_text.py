"""Text into tokens and back."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.text import TextCodec
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.tiny import KEYBOARD_WORDS, panicking_tokenizer, word_tokenizer


def make_codec() -> TextCodec:
    return TextCodec(
        word_tokenizer(KEYBOARD_WORDS),
        unknown_token="<unk>",
        start_token="</s>",
        end_token="</s>",
        display={"i": "I"},
        blocked=["damn"],
    )


CODEC = make_codec()


def ids(words: str) -> list[int]:
    return [KEYBOARD_WORDS.index(word) for word in words.split()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("How are you?", "how are you ?"),
        ("Don’t DO it.", "don't do it ."),
        ("xylophone", "<unk>"),
        ("", ""),
        (" \n\t", ""),
    ],
)
def test_encode(text: str, words: str) -> None:
    """Text becomes the tokenizer's ids, with nothing put before or after them."""
    assert CODEC.encode(text) == ids(words)


def test_encode_many_is_encode_of_each() -> None:
    """Several texts at once give what each gives alone."""
    texts = ["how are you", "", "doing good!"]
    assert CODEC.encode_many(texts) == [CODEC.encode(text) for text in texts]


@pytest.mark.parametrize("call", ["encode", "split"])
def test_text_that_is_not_unicode_is_refused(call: str) -> None:
    """A lone surrogate is an input error that names the field, not a crash."""
    with pytest.raises(InvalidInput) as caught:
        CODEC.encode("\ud800") if call == "encode" else CODEC.split_for_suggest("\ud800", "start_over")
    assert caught.value.reason == "TEXT_NOT_ENCODABLE"
    assert caught.value.violations[0].field == "text"


PANICKING = TextCodec(panicking_tokenizer(KEYBOARD_WORDS))


@pytest.mark.parametrize(
    "call",
    [PANICKING.encode, lambda text: PANICKING.split_for_suggest(text, "start_over")],
    ids=["encode", "split"],
)
def test_text_that_the_tokenizer_panics_at_is_refused(call: Callable[[str], object]) -> None:
    """Its panic is no `Exception`, and ends nothing but the call: the next text is taken."""
    with pytest.raises(InvalidInput, match="AddedVocabulary bad split") as caught:
        call("costs £ 5 ")
    assert caught.value.reason == "TEXT_NOT_ENCODABLE"
    assert call("how are you ")


def test_defects_of_ours_are_not_put_down_to_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the library raises is refused."""
    codec = make_codec()
    monkeypatch.setattr(codec.vocabulary, "has_completions", lambda prefix: [][0])
    with pytest.raises(IndexError):
        codec.split_for_suggest("how ar", "start_over")


def test_typed_control_token_is_text() -> None:
    """A user who types a special token's name does not get the special token."""
    tokenizer = word_tokenizer(KEYBOARD_WORDS)
    tokenizer.add_special_tokens(["</s>"])
    codec = TextCodec(tokenizer, end_token="</s>")
    assert codec.end_id not in codec.encode("do </s> it")


def test_settings_of_the_file_neither_cut_nor_fill() -> None:
    """A tokenizer file that asks for truncation and padding loses and adds no steps."""
    tokenizer = word_tokenizer(KEYBOARD_WORDS)
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=10)
    assert TextCodec(tokenizer).encode("how are you") == ids("how are you")


def test_special_tokens() -> None:
    """The ids of the special tokens are known, and none of them, nor a blocked word, is ever suggested."""
    assert (CODEC.unknown_id, CODEC.start_id, CODEC.end_id) == (0, 1, 1)
    assert CODEC.suppressed_ids == {0, 1, KEYBOARD_WORDS.index("damn")}


def test_unknown_token_of_the_tokenizer_counts_where_none_is_named() -> None:
    """Without `unknown_token` the tokenizer's own is suppressed all the same."""
    assert TextCodec(word_tokenizer(KEYBOARD_WORDS)).unknown_id == 0


def test_special_token_that_does_not_exist_is_refused() -> None:
    """A special token outside the vocabulary is named with its role."""
    with pytest.raises(ValueError, match=r"end_token: expected a token of the vocabulary, got '<end>'"):
        TextCodec(word_tokenizer(KEYBOARD_WORDS), end_token="<end>")


def test_surface() -> None:
    """A token is shown in its display form."""
    assert [CODEC.surface(number) for number in ids("i do")] == ["I", "do"]


@pytest.mark.parametrize(
    ("text", "word", "shown"),
    [
        ("how are you Do", "doing", "Doing"),
        ("HOW ARE YOU DO", "doing", "DOING"),
        ("", "how", "How"),
        ("hello. ", "how", "How"),
        ("hello ", "I", "I"),
        ("I’m here and i don", "don't", "don’t"),
        ("I'm here and i don", "don't", "don't"),
    ],
)
def test_suggested(text: str, word: str, shown: str) -> None:
    """A suggestion follows the capitals and the apostrophe of the whole text before the cursor."""
    assert CODEC.suggested(word, CODEC.split_for_suggest(text, "start_over")) == shown


def test_byte_level_tokens_are_shown_without_their_marks(tmp_path: Path) -> None:
    """Sub-word tokenizers mark spaces in their tokens; people see the word."""
    tokenizer = Tokenizer(models.BPE({"Ġ": 0, "a": 1, "Ġa": 2}, [("Ġ", "a")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    content = json.loads(path.read_text())
    content["decoder"] = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    codec = TextCodec(Tokenizer.from_str(json.dumps(content)))
    assert codec.surface(2) == "a"
    assert codec.encode("a a") == [1, 2]
