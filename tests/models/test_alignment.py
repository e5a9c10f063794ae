"""A keyboard's text, character by character, against the tape that it makes."""

import random

import pytest
from gatehouse_server.models.text import TextCodec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import KEYBOARD_WORDS, word_tokenizer

CODEC = TextCodec(word_tokenizer(KEYBOARD_WORDS), unknown_token="<unk>", start_token="</s>", end_token="</s>")
WORDS = [word for word in KEYBOARD_WORDS[2:] if word.isalpha()]


def type_through(texts: list[str]) -> tuple[list[int], int]:
    """The tape after all `texts`, and how many steps were computed for it."""
    tape: list[int] = []
    computed = 0
    for text in texts:
        typed = CODEC.split_for_suggest(text, "start_over")
        alignment = CODEC.align(tape, typed)
        tape = [*tape[: alignment.kept], *typed.stable_ids[alignment.appended_from :]]
        computed += len(typed.stable_ids) - alignment.appended_from
    return tape, computed


def windows(text: str, width: int) -> list[str]:
    return [text[max(0, end - width) : end] for end in range(1, len(text) + 1)]


def test_each_word_is_computed_once_while_typing() -> None:
    """Typing a sentence key by key computes each of its words once."""
    tape, computed = type_through(windows("how are you doing, my good dog ", 1000))
    assert tape == CODEC.encode("how are you doing, my good dog")
    assert computed == len(tape)


@pytest.mark.parametrize("width", [60, 61, 62, 63, 64, 65])
def test_each_word_is_computed_once_behind_a_sliding_window(width: int) -> None:
    """A window that slides by characters, cutting words, neither rebuilds the tape nor shortens it."""
    text = " ".join(random.Random(1).choices(WORDS, k=150)) + " "
    tape, computed = type_through(windows(text, width))
    assert tape == CODEC.encode(text)
    assert computed == len(tape)


def test_words_the_vocabulary_lacks_may_be_cut_too() -> None:
    """A cut word and its whole are different unknown words, and still one place on the tape."""
    strangers = ["zebras", "lemurs,", "giraffes", "ox's"]
    text = " ".join(random.Random(3).choices([*strangers, *WORDS], k=100)) + " "
    tape, computed = type_through(windows(text, 70))
    assert tape == CODEC.encode(text)
    assert computed == len(tape)


def test_backspace_behind_a_sliding_window_goes_back_on_the_tape() -> None:
    """Erasing a word behind a slid window of fixed beginning keeps the tape up to there."""
    text = " ".join(random.Random(2).choices(WORDS, k=60)) + " "
    window = text[-90:]
    shorter = window.rstrip().rsplit(" ", 1)[0] + " "
    tape, computed = type_through([*windows(text, 90), shorter])
    assert tape == CODEC.encode(text)[:-1]
    assert computed == 60


def test_new_sentence_starts_the_tape_over() -> None:
    """After a sentence end the tape is the new sentence alone."""
    tape, _ = type_through(windows("how are you? i do not want ", 1000))
    assert tape == CODEC.encode("i do not want")


def test_sentence_start_in_the_window_is_the_start_of_the_tape() -> None:
    """A window that shows the sentence's start never continues an older tape, however alike they are."""
    tape, _ = type_through(["we can do it like this and that ", "no. do it like this and that "])
    assert tape == CODEC.encode("do it like this and that")


def test_corrected_first_word_is_not_taken_for_a_cut_one() -> None:
    """The text is the truth: a first word that was corrected is computed again with all that follows."""
    tape, _ = type_through(["boston is good and so are we ", "home is good and so are we "])
    assert tape == CODEC.encode("home is good and so are we")


def test_erased_second_word_is_not_taken_for_a_cut() -> None:
    """Only the word right before the overlap may be the cut one, not a word further back."""
    tape, _ = type_through(["home boston is good and so are we ", "home is good and so are we "])
    assert tape == CODEC.encode("home is good and so are we")


@settings(deadline=None, max_examples=50)  # a busy machine is no failure
@given(st.lists(st.sampled_from([*KEYBOARD_WORDS[2:], " ", " ", "zyx"]), max_size=20).map("".join))
def test_same_text_twice_computes_nothing(text: str) -> None:
    """Asking again about the same text finds the whole tape in place."""
    tape, _ = type_through([text])
    typed = CODEC.split_for_suggest(text, "start_over")
    assert CODEC.align(tape, typed).appended_from == len(typed.stable_ids)
