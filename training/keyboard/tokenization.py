"""The keyboard's words: how text becomes tokens, and the vocabulary of 10,000."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel

UNKNOWN = "<unk>"
SENTENCE_END = "</s>"  # also fed first: the token before every sentence
SPECIALS = (UNKNOWN, SENTENCE_END)

# A run of letters and digits with inner apostrophes ("don't", "o'clock", "20th"), or one other mark. Neither
# alternative crosses white space, so each chunk between spaces tokenizes on its own.
_PIECE = r"[\p{L}\p{N}\p{M}]+(?:'[\p{L}\p{N}\p{M}]+)*|[^\s\p{L}\p{N}\p{M}]"


@cache
def straighten() -> normalizers.Sequence:
    """NFC with typographic quotes and the ellipsis in their plain forms; letter case untouched."""
    replaced = {"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"', "\u2026": "..."}
    steps: list[normalizers.Normalizer] = [normalizers.NFC()]
    steps.extend(normalizers.Replace(old, new) for old, new in replaced.items())
    return normalizers.Sequence(steps)


@cache
def splitter() -> pre_tokenizers.PreTokenizer:
    """Keeps what the word pattern matches and drops the white space between."""
    return pre_tokenizers.Split(Regex(_PIECE), behavior="removed", invert=True)


def cased_words(sentence: str) -> list[str]:
    """The sentence's tokens before lower-casing, for counting how words are written."""
    text = straighten().normalize_str(sentence)
    return [piece for piece, _ in splitter().pre_tokenize_str(text)]


def build_tokenizer(words: Sequence[str]) -> Tokenizer:
    """A word-level tokenizer of the specials and then `words`, numbered in the order given.

    The specials are plain vocabulary entries, not added tokens: a typed "</s>" never becomes one.
    Raises `ValueError` for a repeated word.
    """
    vocabulary = {word: number for number, word in enumerate((*SPECIALS, *words))}
    if len(vocabulary) != len(SPECIALS) + len(words):
        raise ValueError("the vocabulary holds a word twice")
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([straighten(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = splitter()
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The token's id. Raises `ValueError` when the vocabulary lacks it."""
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"expected {token!r} in the vocabulary")
    return int(number)


def choose_words(sentences: Iterable[list[str]], vocabulary_size: int) -> list[str]:
    """The most frequent lower-cased words, sorted by code point so that a prefix is one slice of ids.

    `sentences` are lists of cased tokens. Ties go to the word that sorts first: the choice is reproducible.
    """
    counts: Counter[str] = Counter()
    for words in sentences:
        counts.update(word.lower() for word in words)
    for special in SPECIALS:
        counts.pop(special, None)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return sorted(ranked[: vocabulary_size - len(SPECIALS)])
