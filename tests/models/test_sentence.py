"""Where sentences end."""

import pytest
from gatehouse_server.models.sentence import ends_sentence, sentence_start
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("", ""),
        ("how are you", "how are you"),
        ("Hello. How", "How"),
        ("Hello! How", "How"),
        ("Hello? How", "How"),
        ("Hello… How", "How"),
        ("Hello... How", "How"),
        ("What?! How", "How"),
        ("Hello. ", ""),
        ("One. Two. Three", "Three"),
        ('He said "hello." Then', "Then"),
        ("(He left.) Then", "Then"),
        ("He said “hello.” Then", "Then"),
        ("first line\nsecond", "second"),
        ("first line\n", ""),
        ("I was born in 1993. Then", "Then"),
        ("So am I. Then", "Then"),
        # not sentence ends
        ("Hello.", "Hello."),
        ("it costs 3.5 now", "it costs 3.5 now"),
        ("see example.com now", "see example.com now"),
        ("Mr. Smith", "Mr. Smith"),
        ("I met Dr. Who", "I met Dr. Who"),
        ("(e.g. this", "(e.g. this"),
        ("J. R. R. Tolkien", "J. R. R. Tolkien"),
        ("in the U.S. today", "in the U.S. today"),
        ("3. eggs", "3. eggs"),
        ("Shopping. 3. eggs", "3. eggs"),
        ("wait, no! Mr. Smith", "Mr. Smith"),
    ],
)
def test_sentence_being_typed(text: str, rest: str) -> None:
    """The sentence being typed begins after the last sentence end that white space follows."""
    assert text[sentence_start(text) :].lstrip() == rest


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("Hello.", True),
        ("Hello?!", True),
        ('"Hello."', True),
        ("Hello", False),
        ("Hello. How", False),
        ("Mr.", False),
        ("e.g.", False),
        ("3.", False),
        ("in 1993.", True),
        ("", False),
    ],
)
def test_text_that_stops_at_a_sentence_end(text: str, ends: bool) -> None:
    """A text may stop right after what would be a sentence end."""
    assert ends_sentence(text) is ends


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet="ab .!?…\"')\n", max_size=60), st.text(alphabet="abc ", max_size=10))
def test_typing_words_never_moves_the_start_back(text: str, more: str) -> None:
    """Text once left behind stays behind while words are typed."""
    assert sentence_start(text + more) >= sentence_start(text)


def test_long_runs_of_marks_are_read_once() -> None:
    """A hundred thousand marks without white space take no quadratic time (this would hang)."""
    for marks in (".", ")", ".)", "..)"):
        assert sentence_start(marks * 100_000 + "a") == 0
