"""Tokens become running text, piece by piece."""

import pytest
from gatehouse_server.models.text import TextCodec
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE, WordLevel

from tests.tiny import KEYBOARD_WORDS, word_tokenizer

WORDS = [*KEYBOARD_WORDS, ":", "%", "$", "o'clock", "n't", "'s", "00"]


@pytest.fixture
def codec() -> TextCodec:
    """Whole words in lower case, with display forms."""
    return TextCodec(
        word_tokenizer(WORDS),
        unknown_token="<unk>",
        start_token="</s>",
        end_token="</s>",
        display={"i": "I", "i'm": "I'm", "boston": "Boston"},
    )


def continued(codec: TextCodec, tokens: str, before: str | None = None, context: str = "") -> list[str]:
    """The pieces of tokens, separated by blanks, behind a text or behind the tokens of a context."""
    ids = [WORDS.index(word) for word in context.split()] if before is None else codec.encode(before)
    text = codec.running_text(ids, before)
    return [text.lengthen(WORDS.index(word)) for word in tokens.split()]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("i don't like this , do you ?", "I don't like this, do you?"),
        ("i'm in boston . the cat was good !", "I'm in Boston. The cat was good!"),
        ("3 . 5 % of $ 3", "3.5% of $3"),
        ("at 3 : 00", "At 3:00"),
        ("at 3 o'clock : a cat - dog", "At 3 o'clock: a cat-dog"),
        ('he did : " good dog " , so', 'He did: "good dog", so'),
        ("he was ( like me ) good", "He was (like me) good"),
        ("this is ' good ' .", "This is 'good'."),
        ("did n't the dog 's", "Didn't the dog's"),
        ("hello . . . you", "Hello... You"),
        ('so . " you are good . "', 'So. "You are good."'),
    ],
)
def test_words_are_joined_as_print_has_them(codec: TextCodec, tokens: str, text: str) -> None:
    """Marks and contractions attach to what stands before them, opening marks to what comes behind; sentences and
    names have capitals.
    """
    assert "".join(continued(codec, tokens)) == text


@pytest.mark.parametrize(
    ("before", "tokens", "pieces"),
    [
        ("How are", "you ?", [" you", "?"]),
        ("How are ", "you ?", ["you", "?"]),
        ("How are you?", "good", [" Good"]),
        ("How are you? ", "good", ["Good"]),
        ('He is "', 'good " .', ["good", '"', "."]),
        ("It is 3.", "5", ["5"]),
        ("well (", "good )", ["good", ")"]),
        ("the cats' dog", "is", [" is"]),
        ("\n", "you", ["You"]),
    ],
)
def test_a_text_goes_on_as_it_was_spelt(
    codec: TextCodec, before: str, tokens: str, pieces: list[str]
) -> None:
    """Blanks, open quotes and sentence ends of the text before count."""
    assert continued(codec, tokens, before) == pieces


def test_behind_tokens_of_a_tape_the_same_holds(codec: TextCodec) -> None:
    """What stands before is told by its tokens alone; a control token begins a new text, an unknown word does not."""
    assert continued(codec, "you ?", context="how are") == [" you", "?"]
    assert continued(codec, "you", context="how are you .") == [" You"]
    assert continued(codec, "you", context="how are </s>") == ["You"]
    assert continued(codec, "you", context="how <unk>") == [" you"]


def test_a_case_that_the_tokenizer_keeps_is_not_changed() -> None:
    """Only where the vocabulary has no capitals are they put."""
    tokenizer = Tokenizer(WordLevel({"<unk>": 0, "so": 1, ".": 2}, unk_token="<unk>"))
    text = TextCodec(tokenizer, unknown_token="<unk>").running_text([])
    assert [text.lengthen(token) for token in (1, 2, 1)] == ["so", ".", " so"]


def test_characters_stand_as_they_are() -> None:
    """A vocabulary with a blank in it needs no other blanks."""
    tokenizer = Tokenizer(WordLevel({"<unk>": 0, "a": 1, " ": 2, "\n": 3}, unk_token="<unk>"))
    codec = TextCodec(tokenizer, unknown_token="<unk>")
    text = codec.running_text([1])
    assert "".join(text.lengthen(token) for token in (1, 2, 1, 3, 1)) == "a a\na"
    assert codec.undrawable_ids == {0}


def test_a_decoder_decides_where_there_is_one() -> None:
    """Bytes that are not yet a character wait for those that complete it; blanks are the decoder's."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    tokenizer = Tokenizer(BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    codec = TextCodec(tokenizer)
    wanted = " so déjà — " * 5
    text = codec.running_text(codec.encode("Ja"))
    pieces = [text.lengthen(token) for token in codec.encode(wanted)]
    assert "".join(pieces) == wanted
    assert "" in pieces
    behind_blank = codec.running_text(codec.encode("Ja "), "Ja ")
    assert "".join(behind_blank.lengthen(token) for token in codec.encode(wanted)) == wanted.lstrip()
