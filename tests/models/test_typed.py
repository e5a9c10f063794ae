"""The text before a cursor, taken apart."""

import pytest
from gatehouse_server.models.sections import SentenceEnd
from gatehouse_server.models.text import TextCodec
from gatehouse_server.models.typed import UNSETTLED_CHARACTERS
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from tests.tiny import KEYBOARD_WORDS, word_tokenizer

CODEC = TextCodec(word_tokenizer(KEYBOARD_WORDS), unknown_token="<unk>", start_token="</s>", end_token="</s>")


def words(ids: tuple[int, ...]) -> str:
    return " ".join(KEYBOARD_WORDS[number] for number in ids)


@pytest.mark.parametrize(
    ("text", "stable", "provisional", "prefix"),
    [
        ("", "", "", ""),
        ("   ", "", "", ""),
        ("how are you do", "how are you", "", "do"),
        ("how are you Do", "how are you", "", "Do"),
        ("how are you ", "how are you", "", ""),
        ("  how   are", "how", "", "are"),
        ("How", "", "", "How"),
        ("zyx and zyx", "<unk> and", "", "zyx"),
        # what further typing may tokenize otherwise is not settled
        ("so 3", "so", "", "3"),
        ("so 3.", "so", "3 .", ""),
        ("so 3.5", "so", "3 .", "5"),
        ("so 3.5 ", "so 3 . 5", "", ""),
        ("i don", "i", "", "don"),
        ("i don'", "i", "", "don'"),
        ("i don’", "i", "", "don’"),
        ("i don't", "i", "", "don't"),
        ("i don't ", "i don't", "", ""),
        ("the dog'", "the", "dog '", ""),
        # marks
        ("hello, how", "hello ,", "", "how"),
        ("hello,how", "", "hello ,", "how"),
        ("hello,", "", "hello ,", ""),
        ("so good?", "so", "good ?", ""),
        ('he "do', "he", '"', "do"),
        ("he (", "he", "(", ""),
        ("do - ", "do -", "", ""),
        ("mr. ", "<unk> .", "", ""),
        ("good 👍", "good", "<unk>", ""),
        # only the last sentence counts
        ("hello. how are", "how", "", "are"),
        ("hello. ", "", "", ""),
        ("hello.", "", "hello .", ""),
        ("hello\nhow are", "how", "", "are"),
        ("hello! hello? how ", "how", "", ""),
    ],
)
def test_start_over(text: str, stable: str, provisional: str, prefix: str) -> None:
    """Settled text, what may still change, and the unfinished word come apart."""
    typed = CODEC.split_for_suggest(text, "start_over")
    assert (words(typed.stable_ids), words(typed.provisional_ids), typed.prefix) == (
        stable,
        provisional,
        prefix,
    )


@pytest.mark.parametrize(
    ("text", "stable", "prefix"),
    [
        ("hello. how are", "hello . how", "are"),
        ("hello. ", "hello .", ""),
        ("hello\nhow are", "hello how", "are"),
    ],
)
def test_keep_context(text: str, stable: str, prefix: str) -> None:
    """Where context is kept, a sentence end is a token like others."""
    typed = CODEC.split_for_suggest(text, "keep_context")
    assert (words(typed.stable_ids), typed.prefix) == (stable, prefix)
    assert not typed.is_whole


@pytest.mark.parametrize("sentence_end", ["start_over", "keep_context"])
@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("", True),
        ("hello. ", True),
        ("hello.", True),
        ('hello. "', True),
        ("hello\n", True),
        ("hello. do", True),
        ("hello. do ", False),
        ("hello ", False),
        ("hello", True),
        ("3.", False),
        ("mr. ", False),
        ("hello, ", False),
    ],
)
def test_sentence_start(text: str, starts: bool, sentence_end: SentenceEnd) -> None:
    """Whether the word to suggest is the first of its sentence."""
    assert CODEC.split_for_suggest(text, sentence_end).starts_sentence is starts


@pytest.mark.parametrize(
    ("text", "cut_word", "cut_tokens", "is_whole"),
    [
        ("ow are you", "ow", 1, False),
        ("ow", "ow", 0, False),
        (" how are", "", 0, False),
        ("on't, she", "on't,", 2, False),
        ("hello. how are you", "", 0, True),
        ("hello. ", "", 0, True),
        ("", "", 0, False),
    ],
)
def test_window_edges(text: str, cut_word: str, cut_tokens: int, is_whole: bool) -> None:
    """A text may begin in mid-word, unless it shows where its sentence starts."""
    typed = CODEC.split_for_suggest(text, "start_over")
    assert (typed.cut_word, typed.cut_tokens, typed.is_whole) == (cut_word, cut_tokens, is_whole)


def test_text_without_white_space_settles_behind_the_last_characters() -> None:
    """A long text without any white space is not computed anew at each key: only its end stays open."""
    typed = CODEC.split_for_suggest("the,dog," * 1000, "start_over")
    assert words(typed.stable_ids).startswith("the , dog ,")
    assert len(typed.provisional_ids) <= UNSETTLED_CHARACTERS
    assert len(typed.stable_ids) + len(typed.provisional_ids) == 4000


def test_endless_word_is_a_prefix_without_completions() -> None:
    """One word of a hundred thousand letters is an unfinished word that nothing completes."""
    typed = CODEC.split_for_suggest("so " + "x" * 100_000, "start_over")
    assert (words(typed.stable_ids), typed.provisional_ids, len(typed.prefix)) == ("so", (), 100_000)
    assert not len(CODEC.completions(typed.prefix))


def test_word_before_what_the_tokenizer_drops_is_finished() -> None:
    """Where a tokenizer passes over what was typed last, the word before it is no prefix any more."""
    tokenizer = word_tokenizer(KEYBOARD_WORDS)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[a-z]+"), behavior="removed", invert=True)
    typed = TextCodec(tokenizer).split_for_suggest("so go3", "start_over")
    assert (words(typed.stable_ids), words(typed.provisional_ids), typed.prefix) == ("so", "go", "")


def test_word_of_many_tokens_is_not_divided() -> None:
    """A word that a sub-word tokenizer makes many tokens of stays open as a whole, a rather long one too."""
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    typed = TextCodec(tokenizer).split_for_suggest("b " + "a" * 100, "start_over")
    assert (typed.stable_ids, typed.provisional_ids, typed.prefix) == ((1,), (), "a" * 100)


pieces = st.sampled_from([*KEYBOARD_WORDS[2:], " ", " ", " ", "’", "Mr.", "zyx", "\n"])
texts = st.lists(pieces, max_size=25).map("".join)


@settings(deadline=None)  # a busy machine is no failure
@given(texts)
def test_parts_make_up_the_text(text: str) -> None:
    """With context kept, stable, provisional and prefix tokens are the tokens of the text, in order."""
    typed = CODEC.split_for_suggest(text, "keep_context")
    assert text.endswith(typed.prefix)
    together = [*typed.stable_ids, *typed.provisional_ids, *CODEC.encode(typed.prefix)]
    assert together == CODEC.encode(text)


@settings(deadline=None)  # a busy machine is no failure
@given(texts, st.text(alphabet="abdo'.,3 ", max_size=8))
def test_further_typing_leaves_settled_tokens_alone(text: str, more: str) -> None:
    """What counts as settled is a beginning of the tokens of every longer text."""
    before = CODEC.split_for_suggest(text, "keep_context").stable_ids
    after = CODEC.split_for_suggest(text + more, "keep_context").stable_ids
    assert after[: len(before)] == before
