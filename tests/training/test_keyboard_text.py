"""Words, vocabulary, first names and casing of the keyboard recipe."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.keyboard import corpus
from training.keyboard.display_forms import display_forms, inner_forms
from training.keyboard.first_names import FEMALE, MALE, vary_first_names
from training.keyboard.tokenization import SENTENCE_END, UNKNOWN, build_tokenizer, choose_words, token_id


def test_words_keep_inner_apostrophes_and_marks_stand_alone() -> None:
    """Typographic quotes become plain, letters lower case, a contraction one token, each mark its own."""
    tokenizer = build_tokenizer(["don't", "o'clock", "it's", "20th", '"', "'", ".", "dogs"])
    tokens = tokenizer.encode("Don\u2019t \u201cdogs'\u201d\u2026 IT\u2019S O'Clock, 20th").tokens
    assert tokens == ["don't", '"', "dogs", "'", '"', ".", ".", ".", "it's", "o'clock", UNKNOWN, "20th"]


def test_typed_specials_never_become_special_tokens() -> None:
    """Someone who types "</s>" or "<unk>" types marks and letters."""
    tokenizer = build_tokenizer(["<", ">", "/", "s", "unk"])
    assert tokenizer.encode("</s> <unk>").tokens == ["<", "/", "s", ">", "<", "unk", ">"]


@given(st.lists(st.text(min_size=1).filter(lambda chunk: not re.search(r"\s", chunk)), max_size=6))
def test_chunks_between_spaces_tokenize_on_their_own(chunks: list[str]) -> None:
    """What stands beyond a space never changes how a chunk tokenizes."""
    tokenizer = build_tokenizer(["a", "b", "'", ".", "0", "a'b"])
    alone = [number for chunk in chunks for number in tokenizer.encode(chunk).ids]
    assert tokenizer.encode(" ".join(chunks)).ids == alone


def test_words_with_a_prefix_are_one_slice_of_ids() -> None:
    """Ids after the specials follow the words' order, whatever their frequencies."""
    words = choose_words([["do", "Don't", "dog", "zoo", "an"], ["zoo", "Dog", "an"], ["apple"]], 7)
    tokenizer = build_tokenizer(words)
    assert [token_id(tokenizer, special) for special in (UNKNOWN, SENTENCE_END)] == [0, 1]
    assert words == ["an", "apple", "do", "dog", "zoo"]
    assert [token_id(tokenizer, word) for word in words] == [2, 3, 4, 5, 6]


def test_a_vocabulary_with_a_word_twice_is_refused() -> None:
    """Two ids for one word would split its probability."""
    with pytest.raises(ValueError, match="twice"):
        build_tokenizer(["a", "a"])


def test_a_name_is_the_same_throughout_a_sentence() -> None:
    """Tom and Tom's become one name and its possessive; Mary becomes a woman's name; other words stay."""
    seen_men, seen_women = set(), set()
    for number in range(300):
        sentence = vary_first_names(f"Tom saw Mary's car {number} times. Tom's tomato hit Mary.", seed=1)
        match = re.fullmatch(r"(\w+) saw (\w+)'s car \d+ times\. (\w+)'s tomato hit (\w+)\.", sentence)
        assert match is not None
        man, woman, same_man, same_woman = match.groups()
        assert (man, woman) == (same_man, same_woman)
        assert man in (*MALE, "Tom")
        assert woman in (*FEMALE, "Mary")
        seen_men.add(man)
        seen_women.add(woman)
    assert len(seen_men) > 40
    assert len(seen_women) > 40
    assert "Tom" in seen_men
    assert "Mary" in seen_women


def test_a_drawn_name_is_not_one_the_sentence_holds_already() -> None:
    """Otherwise "Tom met James" could become "James met James"."""
    for number in range(300):
        first, _, second, *_ = vary_first_names(f"Tom met James {number} times.", seed=1).split()
        assert first != second


def test_names_depend_on_seed_and_sentence_alone() -> None:
    """Reordering or cutting a corpus leaves its sentences as they were; another seed draws others."""
    sentences = [f"Tom has {number} cats." for number in range(50)]
    forward = [vary_first_names(sentence, seed=1) for sentence in sentences]
    backward = [vary_first_names(sentence, seed=1) for sentence in reversed(sentences)]
    assert forward == backward[::-1]
    assert forward != [vary_first_names(sentence, seed=2) for sentence in sentences]


def test_casing_is_read_inside_sentences_from_the_first_corpus_that_knows() -> None:
    """A capital opening a sentence says nothing, and one book's titles do not outvote everyday text."""
    everyday = inner_forms(
        ["Dogs bite. Dogs bark, I think.", "In Boston I saw a lion.", "A lion! The lion's a lion and I ran."]
    )
    book = inner_forms(["The Lion and the Lion met the Lion, the Lion and Jeeves in a USB."])
    vocabulary = ["dogs", "i", "boston", "lion", "jeeves", "usb", "in", "tom's"]
    assert display_forms([everyday, book], vocabulary) == {
        "boston": "Boston", "i": "I", "jeeves": "Jeeves", "tom's": "Tom's", "usb": "USB",
    }  # fmt: skip


def write_corpora(folder: Path) -> Path:
    """A small stand-in for the two corpora."""
    tatoeba, voice = folder / "tatoeba-eng", folder / "common-voice-en-sentences"
    tatoeba.mkdir()
    voice.mkdir()
    (tatoeba / "train.txt").write_text("Tom  runs.\n\nMary can't run.\n" * 3, encoding="utf-8")
    (tatoeba / "valid.txt").write_text("We run!\n", encoding="utf-8")
    (voice / "sentences.txt").write_text("We run.\nTom runs!\nThey run.\n", encoding="utf-8")
    return folder


def test_the_second_corpus_brings_no_sentence_of_the_first(tmp_path: Path) -> None:
    """A validation sentence, in whatever case and marks, must not be trained on."""
    text = corpus.read(write_corpora(tmp_path))
    assert text.common_voice == ["They run."]
    assert text.valid == ["We run!"]
    assert text.tatoeba[:2] == ["Tom runs.", "Mary can't run."]


def test_encoded_sentences_close_with_the_end_token() -> None:
    """One run of ids; each sentence is its words and then the end."""
    tokenizer = build_tokenizer(["a", "b"])
    encoded = corpus.encode(tokenizer, ["a b", "b c"])
    np.testing.assert_array_equal(encoded.sentence(0), [2, 3, 1])
    np.testing.assert_array_equal(encoded.sentence(1), [3, 0, 1])
    assert encoded.sentences == 2
