"""The text before a cursor, taken apart with tokenizers that make several tokens of a word."""

from string import ascii_letters

import pytest
from gatehouse_server.models.text import TextCodec
from gatehouse_server.models.typed import UNSETTLED_CHARACTERS
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers


def byte_level() -> Tokenizer:
    """As GPT-2's: a token may have the blank before its word."""
    tokenizer = Tokenizer(_pairs("Ġ"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def metaspace() -> Tokenizer:
    """As many SentencePiece models': words are cut at blanks, and nowhere else."""
    tokenizer = Tokenizer(_pairs("▁"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def no_words() -> Tokenizer:
    """As Llama's: a text is one word to it."""
    tokenizer = Tokenizer(_pairs("▁"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def _pairs(blank: str) -> models.BPE:
    """Letters, marks, and some words with the blank before them, which are put together letter by letter."""
    entire = [blank + word for word in ("there", "done", "Dog")]
    tokens = [*ascii_letters, *".,'", blank]
    tokens += [word[:end] for word in entire for end in range(2, len(word) + 1)]
    merges = [(word[: end - 1], word[end - 1]) for word in entire for end in range(2, len(word) + 1)]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*tokens, "<unk>"]))}
    return models.BPE(vocabulary, list(dict.fromkeys(merges)), unk_token="<unk>")


SUB_WORDS = {maker.__name__: TextCodec(maker()) for maker in (byte_level, metaspace, no_words)}
SUB_WORD_CODECS = pytest.mark.parametrize("codec", SUB_WORDS.values(), ids=SUB_WORDS)


@SUB_WORD_CODECS
@pytest.mark.parametrize("prefix", ["d", "do", "Do", "DO", "don", "done"])
def test_unfinished_word_is_completed_by_tokens_that_have_the_blank(codec: TextCodec, prefix: str) -> None:
    """The prefix is what was typed of the word, without the blank that a sub-word tokenizer puts into it."""
    typed = codec.split_for_suggest(f"so there {prefix}", "keep_context")
    assert typed.stable_ids == codec.split_for_suggest("so there ", "keep_context").stable_ids
    assert (typed.provisional_ids, typed.prefix) == ((), prefix)
    assert typed.capitalisation == {"Do": "first", "DO": "all"}.get(prefix, "as_is")
    assert "done" in [codec.surface(number) for number in codec.completions(typed.prefix)]


@SUB_WORD_CODECS
def test_tape_of_sub_words_grows_word_by_word(codec: TextCodec) -> None:
    """While words are typed letter by letter, nothing is taken back from the tape, also if the window slides."""
    text = "so there it is done, Dog. we had no idea of what else he could have put there that night. And you know "
    tape: list[int] = []
    for end in range(len(text) + 1):
        typed = codec.split_for_suggest(text[:end][-60:], "keep_context")
        alignment = codec.align(tape, typed)
        assert alignment.kept == len(tape)
        tape.extend(typed.stable_ids[alignment.appended_from :])
    assert tape == codec.encode(text.rstrip())


@SUB_WORD_CODECS
@pytest.mark.parametrize("chunk", ["ab.", "ab", "a'b,"])
def test_sub_words_without_white_space_settle_behind_the_last_characters(
    codec: TextCodec, chunk: str
) -> None:
    """Of an endless word or an address only the end stays open."""
    typed = codec.split_for_suggest("so " + chunk * 5000, "keep_context")
    assert len(typed.provisional_ids) + len(typed.prefix) <= 2 * UNSETTLED_CHARACTERS
    assert len(typed.stable_ids) > 5000 * len(chunk) - 2 * UNSETTLED_CHARACTERS


pieces = st.sampled_from(["so", "there", "done", "Dog", "DO", " ", " ", " ", "\n", "'", ".", ",", "é", "👍"])


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(pieces, max_size=25).map("".join), st.text(alphabet="abdo'.,3 ", max_size=8))
@SUB_WORD_CODECS
def test_further_typing_leaves_settled_sub_words_alone(codec: TextCodec, text: str, more: str) -> None:
    """What counts as settled is a beginning of the tokens of every longer text."""
    before = codec.split_for_suggest(text, "keep_context").stable_ids
    after = codec.split_for_suggest(text + more, "keep_context").stable_ids
    assert after[: len(before)] == before
