"""Words, their display forms, and what is never suggested."""

import pytest
from gatehouse_server.models.vocabulary import Vocabulary
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from tests.tiny import KEYBOARD_WORDS, word_tokenizer

DISPLAY = {"i": "I", "Boston": "Boston", "nowhere": "Nowhere"}
VOCABULARY = Vocabulary(
    word_tokenizer(KEYBOARD_WORDS), display=DISPLAY, blocked=["DAMN", "nowhere"], control_ids=[0, 1]
)


def words_of(ids: object) -> list[str]:
    return [VOCABULARY.words[number] for number in ids]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("do", ["do", "does", "dog", "doing", "don't", "done"]),
        ("DO", ["do", "does", "dog", "doing", "don't", "done"]),
        ("don", ["don't", "done"]),
        ("don'", ["don't"]),
        ("don’", ["don't"]),
        ("doing", ["doing"]),
        ("doingx", []),
        ("zz", []),
        ("da", []),
        ("<", []),
        ("BOS", ["boston"]),
    ],
)
def test_completions(prefix: str, words: list[str]) -> None:
    """Completions begin with what was typed, in any case, and leave out blocked and control words."""
    ids = VOCABULARY.completions(prefix)
    assert words_of(ids) == words
    assert ids.tolist() == sorted(ids.tolist())
    assert VOCABULARY.has_completions(prefix) is bool(words)


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet="abdeghnot'<", max_size=4))
def test_completions_are_what_a_search_of_all_words_finds(prefix: str) -> None:
    """Bisection finds the same words as looking at each."""
    searched = [
        number
        for number, word in enumerate(KEYBOARD_WORDS)
        if word.startswith(prefix) and number not in VOCABULARY.suppressed_ids
    ]
    assert VOCABULARY.completions(prefix).tolist() == searched


def test_tokens_of_one_word_are_counted() -> None:
    """Tokens count as one word that differ in case or have one form to show; what is never suggested does not count."""
    words = ["<unk>", "damn", "Damn", "DAMN", ".", "the", "i'm", "im"]
    counted = [
        Vocabulary(
            Tokenizer(models.WordLevel({word: number for number, word in enumerate([*words, *more])})),
            display=display,
            blocked=["damn"],
            control_ids=[0],
        ).most_alike
        for more, display in (([], {}), (["The"], {}), (["The", "THE"], {}), ([], {"im": "I'm"}))
    ]
    assert counted == [1, 2, 3, 2]


def test_empty_prefix_gives_every_word_that_may_be_suggested() -> None:
    """Nothing typed restricts nothing, but what is suppressed stays so."""
    allowed = set(range(len(KEYBOARD_WORDS))) - VOCABULARY.suppressed_ids
    assert set(VOCABULARY.completions("").tolist()) == allowed


def test_suppressed_words() -> None:
    """Control tokens and blocked words, whatever their case in the list, are suppressed, and no others."""
    assert {VOCABULARY.words[number] for number in VOCABULARY.suppressed_ids} == {"<unk>", "</s>", "damn"}


def test_punctuation() -> None:
    """Tokens without a letter or digit are known as punctuation."""
    assert {VOCABULARY.words[n] for n in VOCABULARY.punctuation_ids} == set(".,?!'\"()-")


def test_control_tokens_are_known_by_their_form() -> None:
    """Tokens such as <pad> and [MASK] are control tokens even where nothing declares them; <3 is a word."""
    words = ["<unk>", "<pad>", "[MASK]", "<3", "[sic]", "a"]
    vocabulary = Vocabulary(word_tokenizer(words), display={}, blocked=[], control_ids=[])
    assert {words[number] for number in vocabulary.suppressed_ids} == {"<unk>", "<pad>", "[MASK]"}


def test_display_forms() -> None:
    """Display forms apply without regard to case, and words that the vocabulary lacks are ignored."""
    assert [VOCABULARY.surfaces[KEYBOARD_WORDS.index(word)] for word in ("i", "boston", "do")] == [
        "I",
        "Boston",
        "do",
    ]


def test_cased_vocabulary_completes_in_any_case() -> None:
    """Without a lower-casing tokenizer, words of either case complete what was typed in either case."""
    words = ["Apple", "apple", "APPLY", "pear"]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="pear"))
    vocabulary = Vocabulary(tokenizer, display={}, blocked=[], control_ids=[])
    assert vocabulary.completions("app").tolist() == [0, 1, 2]
    assert vocabulary.completions("APPL").tolist() == [0, 1, 2]


def test_completions_come_by_id_not_by_spelling() -> None:
    """Ascending ids let ties of probability go to the lower id."""
    words = ["dog", "do", "doing"]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="do"))
    vocabulary = Vocabulary(tokenizer, display={}, blocked=[], control_ids=[])
    assert vocabulary.completions("do").tolist() == [0, 1, 2]


def test_curly_apostrophe_is_an_apostrophe() -> None:
    """Also where the tokenizer itself tells the two apart."""
    tokenizer = Tokenizer(models.WordLevel({"don't": 0, "let’s": 1}, unk_token="don't"))
    vocabulary = Vocabulary(tokenizer, display={}, blocked=[], control_ids=[])
    assert vocabulary.completions("don’").tolist() == [0]
    assert vocabulary.completions("let'").tolist() == [1]
