"""Word pieces in, characters out."""

from __future__ import annotations

import string

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from . import numerals, spelling

UNKNOWN, START, END = "<unk>", "<s>", "</s>"

_ENDINGS = ("st", "nd", "rd", "th")
_LONGEST_WORD = 40


def input_tokenizer() -> Tokenizer:
    """Whole words that days are written with; digits one by one; any other word by its letters.

    A piece that goes on within a word has the mark ##, so that "1 12" and "11 2" stay apart.
    """
    words = [
        *numerals.WORDS,
        *spelling.MONTHS,
        *spelling.SHORT_MONTHS,
        *spelling.WEEKDAYS,
        *spelling.SHORT_WEEKDAYS,
        *spelling.OTHER_WORDS,
    ]
    characters = string.digits + string.ascii_lowercase
    pieces = [
        UNKNOWN,
        *string.punctuation,
        *characters,
        *(f"##{character}" for character in characters),
        *(f"##{ending}" for ending in _ENDINGS),
        *words,
    ]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=_LONGEST_WORD)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Replace("’", "'"),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    return tokenizer


def output_tokenizer() -> Tokenizer:
    """Digits and the dash, joined without a space."""
    tokens = [START, END, "-", *string.digits]
    tokenizer = Tokenizer(
        models.WordLevel({token: number for number, token in enumerate(tokens)}, unk_token=END)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer
